//! Times in documents.

use crate::Error;

/// 9999-12-30T22:00:00Z: RFC 3339 ends with year 9999, and jiff leaves room for every offset.
const LAST: i64 = 253_402_207_200;

/// `seconds` since 1970 as RFC 3339 in UTC, e.g. `2024-02-29T12:00:00Z`, the form the OCI image-spec asks for.
///
/// # Errors
///
/// [`Error::Time`] when the year is before 1970 or after 9999.
pub fn rfc3339(seconds: i64) -> Result<String, Error> {
    if !(0..=LAST).contains(&seconds) {
        return Err(Error::Time { seconds });
    }
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| Error::Time { seconds })?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_without_fraction() {
        assert_eq!(rfc3339(0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400).unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(LAST).unwrap(), "9999-12-30T22:00:00Z");
        for bad in [-1, i64::MIN, i64::MAX, LAST + 1] {
            assert_eq!(rfc3339(bad).unwrap_err(), Error::Time { seconds: bad });
        }
    }
}
