//! How a registry says what it wants to see: `WWW-Authenticate` (RFC 9110 §11.6.1).

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password with every request.
    Basic,
    /// A token from a token service.
    Bearer {
        /// The token service's URL, as it was written.
        realm: String,
        service: Option<String>,
        /// What the token has to allow.
        scopes: Vec<String>,
    },
}

/// The best challenge of a response: a token, which ends, before a password, which does not. `None` without one that we
/// understand.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for (scheme, parameters) in headers.take(8).flat_map(challenges) {
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        match scheme.as_str() {
            "bearer" => {
                let Some(realm) = get("realm").filter(|realm| !realm.is_empty()) else { continue };
                let scopes = get("scope").unwrap_or_default().split_whitespace().take(4).map(str::to_owned).collect();
                return Some(Challenge::Bearer { realm, service: get("service"), scopes });
            }
            "basic" => found = Some(Challenge::Basic),
            _ => {}
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header: each a scheme and its parameters, both with lower-case names.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut list: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() && list.len() < 8 {
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        let after = after.trim_start();
        // A name with `=` after it belongs to the challenge before; one without begins a new one.
        rest = match (after.strip_prefix('='), list.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let (value, after) = value(after.trim_start());
                parameters.push((word.to_ascii_lowercase(), value));
                after
            }
            _ => {
                list.push((word.to_ascii_lowercase(), Vec::new()));
                after
            }
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    list
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_graphic() || "=,\"".contains(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// A value: quoted, with commas and `\"` in it, or plain.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Option<Challenge> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned), scopes })
    }

    #[test]
    fn challenges_are_read_in_every_form() {
        let one = |text: &str| parse([text].into_iter());
        assert_eq!(
            one(r#"Bearer realm="https://a.io/token",service="r.io",scope="repository:a/b:pull,push""#),
            bearer("https://a.io/token", Some("r.io"), &["repository:a/b:pull,push"])
        );
        assert_eq!(
            one(r#"BEARER Realm = "https://a.io/t?x=\"1\"" , scope="a b",error="x""#),
            bearer("https://a.io/t?x=\"1\"", None, &["a", "b"])
        );
        assert_eq!(one("bearer realm=https://a.io/t,service=r"), bearer("https://a.io/t", Some("r"), &[]));
        assert_eq!(one(r#"Basic realm="x, Bearer realm=y""#), Some(Challenge::Basic));
        assert_eq!(one(r#"Basic realm="x", Bearer realm="https://t""#), bearer("https://t", None, &[]));
        assert_eq!(parse(["Negotiate", "Basic", "Bearer realm=\"t\""].into_iter()), bearer("t", None, &[]));
        for nothing in ["", ",", "Negotiate abc==", "Bearer", "Bearer service=\"x\"", "=", "\"", "Digest realm=\"x"] {
            assert_eq!(one(nothing), None, "{nothing:?}");
        }
        assert_eq!(one("Basic"), Some(Challenge::Basic));
        assert_eq!(one(r#"Bearer realm="open"#), bearer("open", None, &[]));
        let after = |others: usize| one(&format!("{}Basic", "Negotiate, ".repeat(others)));
        assert_eq!((after(7), after(8)), (Some(Challenge::Basic), None));
        one(&"Bearer a=b,".repeat(100_000));
        one(r#"Bearer realm="é\"#);
    }
}
