//! How deep a lock file nests, counted before it is parsed: the scanner of YAML takes time by the square of the depth.

/// Honest lock files have a depth of about six.
const DEEPEST: usize = 128;

/// Why a text is not given to the parser.
///
/// Brackets are counted wherever they are, in texts, too: those of an honest file close again.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut open = 0usize;
    for line in text.lines() {
        let indicators = line.bytes().filter(|byte| *byte != b' ').take_while(|byte| b"-?:".contains(byte)).count();
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > DEEPEST || indicators > DEEPEST {
                return Err(format!("it nests lists or tables more than {DEEPEST} deep"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_texts_are_refused_in_linear_time() {
        for deep in ["[", "{a: ", "- ", "? ", "[\n", "- [", "{"] {
            assert!(check(&deep.repeat(2_000_000 / deep.len())).is_err(), "{deep:?}");
        }
    }

    #[test]
    fn what_closes_again_is_not_deep() {
        let entry = "- conda: https://h.example/a[b]-1.0-0.conda\n  depends: [{}]\n  md5: '{'\n  sha256: '}'\n";
        assert_eq!(check(&entry.repeat(10_000)), Ok(()));
    }
}
