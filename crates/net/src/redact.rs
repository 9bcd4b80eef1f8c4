//! URLs without credentials: [`redact`] for messages, [`canonical_url`] and [`canonical_channel`] for what goes into
//! images.
//!
//! Credentials hide in the user info, in a `/t/TOKEN/` path segment (anaconda.org and its relatives; conda looks for it
//! anywhere in the path, so do we) and in the query of pre-signed URLs.

use url::Url;

const HIDDEN: &str = "***";

/// Hosts that serve a channel's packages unchanged under another name (prefix.dev's documented mirrors). The same
/// archive must give the same record wherever the lock file got it from.
const MIRRORS: [(&str, &str); 4] = [
    ("https://prefix.dev/conda-forge/", "https://conda.anaconda.org/conda-forge/"),
    ("https://repo.prefix.dev/conda-forge/", "https://conda.anaconda.org/conda-forge/"),
    ("https://prefix.dev/bioconda/", "https://conda.anaconda.org/bioconda/"),
    ("https://repo.prefix.dev/bioconda/", "https://conda.anaconda.org/bioconda/"),
];

/// What stands for every channel on a local disk: where it lies on the build machine is nobody's business.
const LOCAL_CHANNEL: &str = "file:///local-channel/";

/// The URL as it may be shown: user info, token and query replaced by `***`. Text that is no URL is returned as it is,
/// but for anything that looks like user info.
pub fn redact(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return redact_user_info(url);
    };
    if parsed.cannot_be_a_base() {
        return redact_user_info(url);
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // Both setters only fail for URLs without a host, which have no user info.
        let _ = parsed.set_password(None);
        let _ = parsed.set_username(HIDDEN);
    }
    if parsed.query().is_some() {
        parsed.set_query(Some(HIDDEN));
    }
    replace_token(&mut parsed, Some(HIDDEN));
    parsed.into()
}

/// The URL of a package as it is recorded in an image: no credentials, query or fragment; mirrors by their origin's
/// name; files on a local disk as `file:///local-channel/SUBDIR/FILE`.
pub fn canonical_url(url: &Url) -> String {
    if url.scheme() == "file" {
        let segments: Vec<_> = url.path_segments().into_iter().flatten().filter(|s| !s.is_empty()).collect();
        let tail = segments[segments.len().saturating_sub(2)..].join("/");
        return format!("{LOCAL_CHANNEL}{tail}");
    }
    let plain = String::from(without_credentials(url));
    for (mirror, origin) in MIRRORS {
        if let Some(rest) = plain.strip_prefix(mirror) {
            return format!("{origin}{rest}");
        }
    }
    plain
}

/// The channel as it is recorded in an image: like [`canonical_url`], ending in one slash. A channel that is a mere name
/// stays one; a path is a local channel.
pub fn canonical_channel(channel: &str) -> String {
    match Url::parse(channel) {
        Ok(url) if url.scheme() == "file" => LOCAL_CHANNEL.to_owned(),
        Ok(url) if url.has_host() => {
            let mut url = url;
            let path = format!("{}/", url.path().trim_end_matches('/'));
            url.set_path(&path);
            canonical_url(&url)
        }
        _ if channel.starts_with(['/', '.']) => LOCAL_CHANNEL.to_owned(),
        _ => channel.to_owned(),
    }
}

/// The URL without user info, token, query and fragment.
pub fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    replace_token(&mut url, None);
    url
}

/// Replaces the TOKEN of `/t/TOKEN/`, or removes both segments.
fn replace_token(url: &mut Url, replacement: Option<&str>) {
    let Some(segments) = url.path_segments() else { return };
    let segments: Vec<String> = segments.map(str::to_owned).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let Some(at) = token_at(&segments) else { return };
    let mut kept: Vec<&str> = segments[..at].to_vec();
    if let Some(replacement) = replacement {
        kept.extend(["t", replacement]);
    }
    kept.extend(&segments[at + 2..]);
    url.set_path(&kept.join("/"));
}

/// Where `t`, TOKEN is among the segments of a path.
fn token_at(segments: &[&str]) -> Option<usize> {
    // A channel may be called `t`: then a subdir follows.
    let is_subdir = |s: &str| s.parse::<rattler_conda_types::Subdir>().is_ok();
    segments.windows(2).position(|w| w[0] == "t" && !w[1].is_empty() && !is_subdir(w[1]))
}

/// Text of others (errors of libraries, answers of servers) with every URL in it redacted.
pub fn redact_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let starts = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let start = rest[..at]
            .rfind(starts)
            .map_or(0, |before| before + rest[before..].chars().next().map_or(1, char::len_utf8));
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | ',' | ';');
        let login = at + 3 + login_length(&rest[at + 3..], rest[..start].chars().next_back());
        let end = rest[login..].find(ends).map_or(rest.len(), |length| login + length);
        shown.push_str(&rest[..start]);
        shown.push_str(&redact(&rest[start..end]));
        rest = &rest[end..];
    }
    shown + rest
}

/// A manifest or lock file without the logins in its URLs (user info of web addresses, `/t/TOKEN/`, `?token=TOKEN`), or
/// `None` if it has none. Everything else stays as it is written.
pub fn without_logins(text: &str) -> Option<String> {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme_at =
            rest[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')).len();
        let scheme = rest[scheme_at..at].to_ascii_lowercase();
        let web = scheme.ends_with("http") || scheme.ends_with("https");
        let login = login_length(&rest[at + 3..], rest[..scheme_at].chars().next_back());
        let (before, after) = rest.split_at(at + 3);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ',');
        let end = after[login..].find(ends).map_or(after.len(), |length| login + length);
        clean.push_str(before);
        clean.push_str(&if web { without_login(&after[..end]) } else { after[..end].to_owned() });
        rest = &after[end..];
    }
    clean.push_str(rest);
    (clean != text).then_some(clean)
}

/// How long the login is, with its `@`, at the begin of what follows `://`; 0 if there is none. Passwords may have
/// characters that end a URL elsewhere, such as commas and quotes (RFC 3986 §3.2.1); `opening` is what is before the
/// scheme, and only if it is a quote does that quote end the URL.
fn login_length(place: &str, opening: Option<char>) -> usize {
    let ends = |c: char| {
        c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '<' | '>' | '`') || (c == '\'' && opening == Some(c))
    };
    let authority = &place[..place.find(ends).unwrap_or(place.len())];
    authority.rfind('@').map_or(0, |at| at + 1)
}

/// What follows `https://`, without its login.
fn without_login(place: &str) -> String {
    let authority = place.find(['/', '?', '#']).unwrap_or(place.len());
    let host = place[..authority].rfind('@').map_or(0, |at| at + 1);
    let (host, path) = (&place[host..authority], without_secret_parameters(&place[authority..]));
    let segments: Vec<&str> = path.split('/').collect();
    match token_at(&segments) {
        Some(at) => {
            format!("{host}{}", [&segments[..at], &segments[at + 2..]].concat().join("/"))
        }
        None => format!("{host}{path}"),
    }
}

/// What a query names by one of these words lets whoever has the URL in, for as long as it is valid. Others, such as the
/// revision of a git repository, say what is meant.
const SECRET_PARAMETERS: [&str; 8] =
    ["token", "password", "secret", "signature", "credential", "api_key", "apikey", "sig"];

/// A path with query and fragment, without parameters that are secrets.
fn without_secret_parameters(path: &str) -> String {
    let (before, fragment) = path.split_at(path.find('#').unwrap_or(path.len()));
    let Some((before, query)) = before.split_once('?') else { return path.to_owned() };
    let is_secret = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default().to_lowercase().replace('-', "_");
        SECRET_PARAMETERS.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")))
    };
    let kept: Vec<&str> = query.split('&').filter(|parameter| !is_secret(parameter)).collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    format!("{before}{mark}{}{fragment}", kept.join("&"))
}

/// A text of the same length in which the user info of URLs is stars, for errors that show a line of a file.
pub fn mask_user_info(text: &str) -> String {
    let mut masked = text.as_bytes().to_vec();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let scheme = text[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let login = login_length(&text[start..], scheme.chars().next_back());
        masked[start..start + login.saturating_sub(1)].fill(b'*');
    }
    // Whole characters were replaced by as many stars as they had bytes.
    String::from_utf8(masked).unwrap_or_default()
}

fn redact_user_info(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts() {
        let cases = [
            ("https://me:secret@h.example/c/linux-64/a.conda", "https://***@h.example/c/linux-64/a.conda"),
            ("https://h.example/t/tk-1/c/a.conda", "https://h.example/t/***/c/a.conda"),
            ("https://h.example/conda/t/tk-1/c/a.conda", "https://h.example/conda/t/***/c/a.conda"),
            ("https://h.example/t/linux-64/a.conda", "https://h.example/t/linux-64/a.conda"),
            ("https://h.example/a.conda?sig=x&y=z", "https://h.example/a.conda?***"),
            ("https://me:secret@[bad/x", "https://***@[bad/x"),
            ("/home/me/a.conda", "/home/me/a.conda"),
        ];
        for (given, expected) in cases {
            assert_eq!(redact(given), expected);
        }
    }

    #[test]
    fn redacts_inside_text() {
        let text = "error sending request for url (https://u:p@h.example/t/tk-1/a?s=1): \u{e9}https://u:p@h.example, and s3://b/k";
        let shown = "error sending request for url (https://***@h.example/t/***/a?***): \u{e9}https://***@h.example/, and s3://b/k";
        assert_eq!(redact_text(text), shown);
        assert_eq!(redact_text("://"), "://");
        assert_eq!(redact_text("at https://u:a,b;c'(d)@h.example, x"), "at https://***@h.example/, x");
        assert_eq!(redact_text("no 'https://h.example' or 'x@y'"), "no 'https://h.example/' or 'x@y'");
    }

    #[test]
    fn copies_have_no_logins() {
        let text = "- conda: https://u:p@h.example/t/tk-1/c/linux-64/a.conda\n  url: 'https://tk@h.example'\n- x: git+ssh://git@h.example/a?rev=1#2\n";
        let clean = "- conda: https://h.example/c/linux-64/a.conda\n  url: 'https://h.example'\n- x: git+ssh://git@h.example/a?rev=1#2\n";
        assert_eq!(without_logins(text).as_deref(), Some(clean));
        assert_eq!(
            without_logins("- url: https://h.example/x/t/tk\n").as_deref(),
            Some("- url: https://h.example/x\n")
        );
        assert_eq!(without_logins(clean), None);
        assert_eq!(without_logins("https://h.example/t/linux-64/a.conda https://h/a@b"), None);
        // All of these may be in a password as they are.
        let text = "- url: https://u:a,b'c!$&()*+;=@h.example/x\n- p @ HTTPS://u:a,b@h.example/y, z\n";
        let clean = "- url: https://h.example/x\n- p @ HTTPS://h.example/y, z\n";
        assert_eq!(without_logins(text).as_deref(), Some(clean));
        assert_eq!(without_logins("['https://h.example', 'x@y']\n[\"https://h.example\",\"x@y\"]"), None);
        let signed = "https://h.example/a.whl?X-Amz-Signature=1&rev=v1&Token=2&sig=3#sha256=0";
        assert_eq!(without_logins(signed).as_deref(), Some("https://h.example/a.whl?rev=v1#sha256=0"));
        assert_eq!(without_logins("https://h/a?token=1\n").as_deref(), Some("https://h/a\n"));
        assert_eq!(without_logins("git+https://h.example/a?subdirectory=token&design=1#1"), None);
        assert_eq!(without_logins("git+https://u:p@h.example/a#1").as_deref(), Some("git+https://h.example/a#1"));
    }

    #[test]
    fn masks_in_place() {
        assert_eq!(mask_user_info("a = \"http://u:p\u{e9}@h/\" # @"), "a = \"http://*****@h/\" # @");
        assert_eq!(mask_user_info("http://h/a@b"), "http://h/a@b");
        assert_eq!(mask_user_info("\"http://u:a'b@h\" 'http://h' '@'"), "\"http://*****@h\" 'http://h' '@'");
    }

    #[test]
    fn canonical_urls_say_nothing_of_the_host_or_its_secrets() {
        let url = |text: &str| canonical_url(&Url::parse(text).unwrap());
        assert_eq!(url("https://u:p@h.example/t/tk/c/noarch/a.conda?sig=1#x"), "https://h.example/c/noarch/a.conda");
        assert_eq!(
            url("https://prefix.dev/conda-forge/noarch/a.conda"),
            "https://conda.anaconda.org/conda-forge/noarch/a.conda"
        );
        assert_eq!(url("https://prefix.dev/robostack/noarch/a.conda"), "https://prefix.dev/robostack/noarch/a.conda");
        assert_eq!(url("file:///home/me/ws/chan/noarch/a.conda"), "file:///local-channel/noarch/a.conda");
        assert_eq!(url("file:///a.conda"), "file:///local-channel/a.conda");
    }

    #[test]
    fn canonical_channels() {
        assert_eq!(canonical_channel("conda-forge"), "conda-forge");
        assert_eq!(canonical_channel("https://u:p@h.example/t/tk/c"), "https://h.example/c/");
        assert_eq!(canonical_channel("https://prefix.dev/conda-forge"), "https://conda.anaconda.org/conda-forge/");
        for local in ["file:///home/me/chan", "/home/me/chan", "./chan", "../chan/"] {
            assert_eq!(canonical_channel(local), "file:///local-channel/");
        }
    }
}
