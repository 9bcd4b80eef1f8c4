//! How deep a lock file nests and how many values it has, counted before it is parsed: the scanner of YAML takes time by the square
//! of the depth, and each value takes a kilobyte of memory.

/// Honest lock files have a depth of about six.
const DEEPEST: usize = 128;

/// Honest ones have a value, of a line or before a comma, for each 33 bytes or more.
const VALUES: usize = 50_000;
const BYTES_OF_VALUE: usize = 28;

/// Why a text is not given to the parser.
///
/// Brackets are counted wherever they are, in texts, too: those of an honest file close again.
pub(super) fn check(text: &str) -> Result<(), String> {
    let (mut open, mut values, most) = (0usize, 0, VALUES + text.len() / BYTES_OF_VALUE);
    for line in text.lines() {
        let indicators = line.bytes().filter(|byte| *byte != b' ').take_while(|byte| b"-?:".contains(byte)).count();
        values += 1;
        for byte in line.bytes() {
            match byte {
                b',' => values += 1,
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > DEEPEST || indicators > DEEPEST {
                return Err(format!("it nests lists or tables more than {DEEPEST} deep"));
            }
        }
    }
    if values > most {
        return Err(format!("it has {values} values in {} bytes, of which {most} are accepted", text.len()));
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
        assert!(check(&"- a\n".repeat(100_000)).unwrap_err().contains("100000 values in 400000 bytes"));
        let entry = "- conda: https://h.example/a[b]-1.0-0.conda\n  depends: [{}]\n  md5: '{'\n  sha256: '}'\n";
        assert_eq!(check(&entry.repeat(10_000)), Ok(()));
    }
}
