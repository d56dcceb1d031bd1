//! Numbers in words for people.

use crate::correlate::Quality;

/// A duration with its unit, to three digits: `850 ns`, `1.24 µs`, `12.4 ms`, `124 s`.
pub fn duration(ns: u64) -> String {
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    let units = [(1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s")];
    for (size, unit) in units {
        for decimals in [2, 1, 0] {
            let scale = 10_u128.pow(decimals);
            let scaled = (u128::from(ns) * scale + size / 2) / size;
            if scaled >= 1_000 && (decimals > 0 || unit != "s") {
                continue;
            }
            let width = decimals as usize;
            return if decimals == 0 {
                format!("{scaled} {unit}")
            } else {
                format!("{}.{:0width$} {unit}", scaled / scale, scaled % scale)
            };
        }
    }
    format!("{ns} ns")
}

/// A count with its digits in groups of three: `10 000`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A size in bytes: `152 bytes`, `1.5 KiB`, `14.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (size, unit) = match bytes {
        ..0x10_0000 => (1_u128 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = (u128::from(bytes) * 10 + size / 2) / size;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// The quality before a duration in a sentence; nothing for an exact one.
pub const fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Exact => "",
        Quality::AtMost => "at most ",
        Quality::AtLeast => "at least ",
        Quality::Approximated => "about ",
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, duration};

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_239, "1.24 µs"),
            (9_999, "10.0 µs"),
            (12_340, "12.3 µs"),
            (99_960, "100 µs"),
            (999_400, "999 µs"),
            (999_500, "1.00 ms"),
            (51_000_000, "51.0 ms"),
            (3_090_000_000, "3.09 s"),
            (5_000_000_000_000, "5000 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(duration(u64::MAX), "18446744074 s");
    }

    #[test]
    fn counts_and_sizes_are_grouped_and_scaled() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(15 << 20), "15.0 MiB");
        assert_eq!(bytes(u64::MAX), "17179869184.0 GiB");
    }
}
