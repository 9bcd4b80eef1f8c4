//! `exclude-newer`: packages that were uploaded after some moment do not exist.

use std::time::Duration;

use jiff::{Timestamp, civil::Date};

/// A moment, or how long before the present it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    At(Timestamp),
    /// A duration before now, whenever that is.
    Ago(Duration),
}

/// What `exclude-newer` says for an environment: the most specific cutoff holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExcludeNewer {
    /// For packages of which nothing below speaks.
    pub cutoff: Option<Cutoff>,
    /// For the packages of a channel, by its URL (with a slash at the end).
    pub channels: Vec<(String, Cutoff)>,
    /// For conda packages by normalised name.
    pub packages: Vec<(String, Cutoff)>,
    /// For Python packages by PEP 503 name.
    pub pypi_packages: Vec<(String, Cutoff)>,
}

impl Cutoff {
    /// Reads `2025-06-01` (that whole day is still allowed), an RFC 3339 time or a duration such as `7d` or `1h 30m`, in
    /// pixi's order.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(duration) = duration(text) {
            return Ok(Self::Ago(duration));
        }
        if let Ok(date) = text.parse::<Date>()
            && text.len() == "2025-06-01".len()
        {
            let next = date.tomorrow().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
            return next.map(|next| Self::At(next.timestamp())).map_err(|e| e.to_string());
        }
        let time = text.parse::<Timestamp>().map(Self::At);
        time.map_err(|_| {
            format!("`{text}` is neither a date (`2025-06-01`), nor an RFC 3339 time, nor a duration (`7d`)")
        })
    }

    pub fn resolve(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => *time,
            Self::Ago(duration) => now.checked_sub(*duration).unwrap_or(Timestamp::MIN),
        }
    }
}

impl ExcludeNewer {
    pub fn is_empty(&self) -> bool {
        self.cutoff.is_none() && self.channels.is_empty() && self.packages.is_empty() && self.pypi_packages.is_empty()
    }

    /// The moment after which a conda package of this channel is excluded.
    pub fn for_conda(&self, name: &str, channel: Option<&str>) -> Option<Cutoff> {
        let of = |list: &[(String, Cutoff)], key: &str| list.iter().find(|(known, _)| known == key).map(|(_, at)| *at);
        of(&self.packages, name).or_else(|| channel.and_then(|channel| of(&self.channels, channel))).or(self.cutoff)
    }
}

/// A duration as the `humantime` crate, which pixi uses, reads it: numbers with units, with or without spaces.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86_400,
            "w" | "wk" | "wks" | "week" | "weeks" => 7 * 86_400,
            "M" | "month" | "months" => 2_630_016,
            "y" | "yr" | "yrs" | "year" | "years" => 31_557_600,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(number.checked_mul(unit)?))?;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_times_and_durations() {
        let at = |text: &str| Cutoff::At(text.parse().unwrap());
        for (text, expected) in [
            ("2006-12-02", at("2006-12-03T00:00:00Z")),
            ("2006-12-02T02:07:43Z", at("2006-12-02T02:07:43Z")),
            ("2006-12-02T02:07:43+02:00", at("2006-12-02T00:07:43Z")),
            ("7d", Cutoff::Ago(Duration::from_secs(7 * 86_400))),
            ("1h30m", Cutoff::Ago(Duration::from_secs(5400))),
            ("1h 30 min", Cutoff::Ago(Duration::from_secs(5400))),
        ] {
            assert_eq!(Cutoff::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "7", "d", "99999999999999999999d", "18446744073709551615y", "2006-13-02"] {
            assert!(Cutoff::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_specific_cutoff_holds() {
        let [a, b, c] = [1, 2, 3].map(|seconds| Cutoff::Ago(Duration::from_secs(seconds)));
        let all = ExcludeNewer {
            cutoff: Some(a),
            channels: vec![("https://c/".into(), b)],
            packages: vec![("p".into(), c)],
            pypi_packages: Vec::new(),
        };
        assert_eq!(all.for_conda("p", Some("https://c/")), Some(c));
        assert_eq!(all.for_conda("q", Some("https://c/")), Some(b));
        assert_eq!(all.for_conda("q", None), Some(a));
    }
}
