//! The form in which a match or target is written that has no words here: its revision and its
//! bytes, as `-m NAME --ipt-trace-raw REVISION:HEX`. Only this program reads it.

use std::io::Write as _;

use crate::kernel::abi::ALIGN;

/// The option that holds revision and bytes.
pub const OPTION: &str = "--ipt-trace-raw";

/// Writes ` --ipt-trace-raw REVISION:HEX`.
pub fn print(revision: u8, data: &[u8], out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, " {OPTION} {revision}:");
    for byte in data {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Reads `REVISION:HEX`.
pub fn parse(word: &str) -> Result<(u8, Vec<u8>), String> {
    let bad =
        || format!("{OPTION} {word}: not a revision, a colon and an even number of hex digits");
    let (revision, hex) = word.split_once(':').ok_or_else(bad)?;
    let revision = revision.parse().map_err(|_| bad())?;
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || !hex.len().is_multiple_of(2) {
        return Err(bad());
    }
    let bytes: Result<Vec<u8>, _> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
        .collect();
    let bytes = bytes.map_err(|_| bad())?;
    if !bytes.len().is_multiple_of(ALIGN) {
        return Err(format!(
            "{OPTION}: {} bytes are no multiple of {ALIGN}, as the kernel wants them",
            bytes.len()
        ));
    }
    Ok((revision, bytes))
}

#[cfg(test)]
mod tests {
    use super::{OPTION, parse, print};

    #[test]
    fn what_is_written_reads_back() {
        let data = [0, 1, 0xff, 0x80, 5, 6, 7, 8];
        let mut out = Vec::new();
        print(3, &data, &mut out);
        let text = String::from_utf8(out).unwrap();
        let word = text.strip_prefix(&format!(" {OPTION} ")).unwrap();
        assert_eq!(parse(word), Ok((3, data.to_vec())));
    }

    #[test]
    fn other_words_are_refused() {
        for word in [
            "",
            "3",
            "3:0",
            "3:00",
            "x:0001020304050607",
            "3:+001020304050607",
            "300:",
        ] {
            assert!(parse(word).is_err(), "{word}");
        }
        assert_eq!(parse("0:"), Ok((0, Vec::new())));
    }
}
