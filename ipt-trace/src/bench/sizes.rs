//! Numbers of rules as they are written on the command line.

/// Why sizes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// Not a number.
    #[error(
        "\"{0}\": not a number of rules; write 100, 1k, 2.5k or 1M, several as 100,1k,10k, or a \
         range with steps per decade as 100..100k/3"
    )]
    Number(String),
    /// Too small or too large.
    #[error("{0} rules: from 1 to {MOST} can be measured")]
    Bounds(u64),
    /// A range that runs backwards.
    #[error("\"{0}\": the range ends before it begins")]
    Backwards(String),
    /// Steps that are none.
    #[error("\"{0}\": 1 to 20 steps per decade are possible")]
    Steps(String),
}

/// The most rules. The kernel takes no table of more than half a gigabyte, which is less.
const MOST: u64 = 4_000_000;

/// Reads sizes separated by commas, in rising order, each once.
pub fn parse(text: &str) -> Result<Vec<u64>, SizesError> {
    let mut sizes = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => sizes.push(number(part)?),
            Some((from, rest)) => {
                let (to, steps) = rest.split_once('/').unwrap_or((rest, "1"));
                sizes.extend(range(part, number(from)?, number(to)?, steps)?);
            }
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}

fn range(text: &str, from: u64, to: u64, steps: &str) -> Result<Vec<u64>, SizesError> {
    if to < from {
        return Err(SizesError::Backwards(text.to_owned()));
    }
    let steps: u32 = steps
        .parse()
        .ok()
        .filter(|steps| (1..=20).contains(steps))
        .ok_or_else(|| SizesError::Steps(text.to_owned()))?;
    let mut sizes = Vec::new();
    for step in 0.. {
        let factor = 10_f64.powf(f64::from(step) / f64::from(steps));
        let size = rounded(f64::from(u32::try_from(from).unwrap_or(u32::MAX)) * factor);
        if size >= to {
            break;
        }
        sizes.push(size);
    }
    sizes.push(to);
    Ok(sizes)
}

fn number(text: &str) -> Result<u64, SizesError> {
    let wrong = || SizesError::Number(text.to_owned());
    let text = text.trim();
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1e6),
            None => (text, 1.0),
        },
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let number = number * factor;
    if number.fract() != 0.0 {
        return Err(wrong());
    }
    let number = rounded(number);
    if (1..=MOST).contains(&number) {
        Ok(number)
    } else {
        Err(SizesError::Bounds(number))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate, and bounds are checked afterwards"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::{SizesError, parse};

    #[test]
    fn sizes_are_read() {
        assert_eq!(
            parse("100,1k,10k,100k"),
            Ok(vec![100, 1_000, 10_000, 100_000])
        );
        assert_eq!(parse("2.5k,1k,1000"), Ok(vec![1_000, 2_500]));
        assert_eq!(parse("1M"), Ok(vec![1_000_000]));
        assert_eq!(
            parse("100..10k/2"),
            Ok(vec![100, 316, 1_000, 3_162, 10_000])
        );
        assert_eq!(parse("1k..50k"), Ok(vec![1_000, 10_000, 50_000]));
        assert_eq!(parse("7..7/3"), Ok(vec![7]));
    }

    #[test]
    fn mistakes_are_told_apart() {
        for wrong in [
            "", "abc", "1kk", "1,", "-1", "1.5", "..", "1e3x", "inf", "nan",
        ] {
            assert!(
                matches!(parse(wrong), Err(SizesError::Number(_))),
                "{wrong}"
            );
        }
        assert_eq!(parse("0"), Err(SizesError::Bounds(0)));
        assert_eq!(parse("5M"), Err(SizesError::Bounds(5_000_000)));
        assert!(matches!(parse("10k..1k"), Err(SizesError::Backwards(_))));
        assert!(matches!(parse("1..10/0"), Err(SizesError::Steps(_))));
        assert!(matches!(parse("1..10/x"), Err(SizesError::Steps(_))));
    }
}
