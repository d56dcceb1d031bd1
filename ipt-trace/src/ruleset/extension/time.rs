//! `-m time`: `struct xt_time_info` (include/uapi/linux/netfilter/xt_time.h).

use std::io::Write as _;

use super::c::strtoul;
use super::value::{get_u32, put};
use super::{Bits, Context, Extension, Opt, Parse, Shown, Value};

const DATE_START: usize = 0;
const DATE_STOP: usize = 4;
const TIME_START: usize = 8;
const TIME_STOP: usize = 12;
const MONTHDAYS: usize = 16;
const WEEKDAYS: usize = 20;
const FLAGS: usize = 21;

const KERNEL_ZONE: Bits = Bits::u8(FLAGS, 1);
const CONTIGUOUS: Bits = Bits::u8(FLAGS, 2);

/// `XT_TIME_ALL_…`: bit 0 is no day.
const ALL_MONTHDAYS: u32 = 0xffff_fffe;
const ALL_WEEKDAYS: u8 = 0xfe;
const LAST_SECOND: u32 = 24 * 60 * 60 - 1;
/// What iptables takes for the end of time.
const LAST_DATE: u32 = i32::MAX.cast_unsigned();

const WEEK: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const fn option(
    name: &'static str,
    span: (usize, usize),
    parse: Parse,
    print: fn(&[u8], &mut Vec<u8>),
    shown: Shown,
) -> Opt {
    let words = 1;
    Opt::new(
        name,
        Value::Custom {
            words,
            span,
            parse,
            print,
        },
        shown,
    )
}

/// Both times are printed if either is given.
const TIMES_SHOWN: Shown =
    Shown::If(|data| get_u32(data, TIME_START) != 0 || get_u32(data, TIME_STOP) != LAST_SECOND);

pub(super) static EXTENSIONS: &[Extension] = &[Extension {
    size: 24,
    initial: &[
        (DATE_STOP, &LAST_DATE.to_ne_bytes()),
        (TIME_STOP, &LAST_SECOND.to_ne_bytes()),
        (MONTHDAYS, &ALL_MONTHDAYS.to_ne_bytes()),
        (WEEKDAYS, &[ALL_WEEKDAYS]),
    ],
    options: &[
        option(
            "timestart",
            (TIME_START, 4),
            |words, _, data| parse_time(words[0], TIME_START, data),
            |data, out| print_time(get_u32(data, TIME_START), out),
            TIMES_SHOWN,
        ),
        option(
            "timestop",
            (TIME_STOP, 4),
            |words, _, data| parse_time(words[0], TIME_STOP, data),
            |data, out| print_time(get_u32(data, TIME_STOP), out),
            TIMES_SHOWN,
        ),
        option(
            "monthdays",
            (MONTHDAYS, 4),
            parse_monthdays,
            |_, _| {},
            Shown::Whole(print_monthdays),
        )
        .inverted_by_parse(),
        option(
            "weekdays",
            (WEEKDAYS, 1),
            parse_weekdays,
            |_, _| {},
            Shown::Whole(print_weekdays),
        )
        .inverted_by_parse(),
        option(
            "datestart",
            (DATE_START, 4),
            |words, _, data| parse_date(words[0], DATE_START, data),
            |data, out| print_date(get_u32(data, DATE_START), out),
            Shown::If(|data| get_u32(data, DATE_START) != 0),
        ),
        // iptables prints its end of time as well.
        option(
            "datestop",
            (DATE_STOP, 4),
            |words, _, data| parse_date(words[0], DATE_STOP, data),
            |data, out| print_date(get_u32(data, DATE_STOP), out),
            Shown::If(|data| get_u32(data, DATE_STOP) != 0),
        ),
        Opt::new("kerneltz", Value::Nothing, Shown::Given).given(KERNEL_ZONE),
        Opt::new("contiguous", Value::Nothing, Shown::Given).given(CONTIGUOUS),
        // The old name, which says less well whose zone it is.
        Opt::new("localtz", Value::Nothing, Shown::Never).given(KERNEL_ZONE),
        Opt::new("utc", Value::Nothing, Shown::Never),
    ],
    finish: Some(finish),
    ..Extension::a_match("time")
}];

fn finish(given: u64, _: Context, data: &mut [u8]) -> Result<(), String> {
    /// The last option.
    const UTC: u64 = 1 << 9;
    if given & UTC != 0 && KERNEL_ZONE.is_set(data) {
        return Err("--utc cannot stand beside --kerneltz".to_owned());
    }
    if CONTIGUOUS.is_set(data) && get_u32(data, TIME_START) < get_u32(data, TIME_STOP) {
        return Err("--contiguous needs a --timestop before --timestart".to_owned());
    }
    Ok(())
}

/// Numbers with these letters between them, each but the first `needed` left out at will: what
/// strtoul makes of each part, so that none is 0. `None` if another letter stands between them, or
/// a number is more than its greatest.
fn parse_parts<const PARTS: usize>(
    word: &str,
    separators: &[char],
    needed: usize,
    parts: [(u32, u32); PARTS],
) -> Option<[u32; PARTS]> {
    let mut numbers = parts.map(|(default, _)| default);
    let mut rest = word;
    for (index, (_, max)) in parts.into_iter().enumerate() {
        let (number, after) = strtoul(rest, 10);
        numbers[index] = u32::try_from(number).ok().filter(|number| *number <= max)?;
        if after.is_empty() {
            return (index + 1 >= needed).then_some(numbers);
        }
        rest = after.strip_prefix(*separators.get(index)?)?;
    }
    None
}

/// `hh:mm[:ss]`.
fn parse_time(word: &str, at: usize, data: &mut [u8]) -> Result<(), String> {
    let parts = parse_parts(word, &[':', ':'], 2, [(0, 23), (0, 59), (0, 59)]);
    let [hours, minutes, seconds] =
        parts.ok_or_else(|| format!("\"{word}\" is not a time like 18:30[:00]"))?;
    let seconds = hours * 3600 + minutes * 60 + seconds;
    put(data, at, &seconds.to_ne_bytes());
    Ok(())
}

fn print_time(seconds: u32, out: &mut Vec<u8>) {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _ = write!(out, " {hours:02}:{minutes:02}:{:02}", seconds % 60);
}

/// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`, in UTC.
fn parse_date(word: &str, at: usize, data: &mut [u8]) -> Result<(), String> {
    let bad = || format!("\"{word}\" is not a date like 2030[-12[-31[T23[:59[:59]]]]]");
    let seconds = seconds_of(word).ok_or_else(bad)?;
    put(data, at, &seconds.to_ne_bytes());
    Ok(())
}

fn seconds_of(word: &str) -> Option<u32> {
    const PARTS: [(u32, u32); 6] = [(0, 2038), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59)];
    let parts = parse_parts(word, &['-', '-', 'T', ':', ':'], 1, PARTS)?;
    let [year, month, day, hour, minute, second] = parts;
    if year < 1970 {
        return None;
    }
    // As for mktime, a month 0 is the one before, and so is a day 0.
    let (year, month) = if month == 0 {
        (year - 1, 12)
    } else {
        (year, month)
    };
    let days = i64::from(first_of_month(year, month)) + i64::from(day) - 1;
    let of_day = hour * 3600 + minute * 60 + second;
    u32::try_from(days * 86_400 + i64::from(of_day)).ok()
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn month_length(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the month's first; negative in 1969.
fn first_of_month(year: u32, month: u32) -> i32 {
    let years: u32 = (1970..year)
        .map(|year| 365 + u32::from(is_leap(year)))
        .sum();
    let months: u32 = (1..month).map(|month| month_length(year, month)).sum();
    let days = i32::try_from(years + months).unwrap_or(i32::MAX);
    if year < 1970 { days - 365 } else { days }
}

fn print_date(date: u32, out: &mut Vec<u8>) {
    let mut days = date / 86_400;
    let mut year = 1970;
    while days >= 365 + u32::from(is_leap(year)) {
        days -= 365 + u32::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while days >= month_length(year, month) {
        days -= month_length(year, month);
        month += 1;
    }
    let _ = write!(out, " {year:04}-{month:02}-{:02}T", days + 1);
    let (hours, minutes) = (date / 3600 % 24, date / 60 % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}", date % 60);
}

/// Parts of a list, of each only so many letters, as iptables cuts them off. An empty list has
/// none, and so has what stands behind a last comma.
fn parts(list: &str, letters: usize) -> impl Iterator<Item = &str> {
    let whole = list.strip_suffix(',').unwrap_or(list);
    let parts = (!list.is_empty()).then(|| whole.split(','));
    parts.into_iter().flatten().map(move |part| {
        let end = part.char_indices().nth(letters);
        end.map_or(part, |(end, _)| &part[..end])
    })
}

/// Numbers up to 31, separated by commas; 0 is no day.
fn parse_monthdays(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let days = parts(words[0], 2).try_fold(0u32, |days, word| match strtoul(word, 0) {
        (day @ 0..=31, "") => Ok(days | 1 << day),
        _ => Err(format!("\"{word}\" is not between 1 and 31")),
    })?;
    let mask = if context.inverted { ALL_MONTHDAYS } else { 0 };
    put(data, MONTHDAYS, &(days ^ mask).to_ne_bytes());
    Ok(())
}

/// Numbers from 1 to 7, or names, of which the first two letters count.
fn parse_weekdays(words: &[&str], context: Context, data: &mut [u8]) -> Result<(), String> {
    let days = parts(words[0], 3).try_fold(0u8, |days, word| {
        let named = WEEK
            .iter()
            .zip(1..)
            .find(|(name, _)| word.get(..2) == Some(&name[..2]))
            .map(|(_, day)| day);
        let numbered = match strtoul(word, 0) {
            (day @ 1..=7, "") => Some(day),
            _ => None,
        };
        numbered
            .or(named)
            .map(|day| days | 1 << day)
            .ok_or_else(|| {
                format!(
                    "\"{word}\" is no day (1 to 7, or one of {})",
                    WEEK.join(", ")
                )
            })
    })?;
    data[WEEKDAYS] = days ^ if context.inverted { ALL_WEEKDAYS } else { 0 };
    Ok(())
}

fn print_monthdays(data: &[u8], out: &mut Vec<u8>) {
    let mask = get_u32(data, MONTHDAYS);
    if mask != ALL_MONTHDAYS {
        print_days("monthdays", mask, ALL_MONTHDAYS, |day| day.to_string(), out);
    }
}

fn print_weekdays(data: &[u8], out: &mut Vec<u8>) {
    let mask = u32::from(data[WEEKDAYS]);
    if mask != u32::from(ALL_WEEKDAYS) {
        let name = |day: usize| WEEK[day - 1].to_owned();
        print_days("weekdays", mask, u32::from(ALL_WEEKDAYS), name, out);
    }
}

/// No day at all is printed as not any: iptables prints an option without a value, which nothing
/// can read.
fn print_days(
    option: &str,
    mask: u32,
    all: u32,
    name: impl Fn(usize) -> String,
    out: &mut Vec<u8>,
) {
    let (invert, mask) = match mask & all {
        0 => (" !", all),
        mask => ("", mask),
    };
    let days: Vec<_> = (1..32)
        .filter(|day| mask & 1 << day != 0)
        .map(name)
        .collect();
    let _ = write!(out, "{invert} --{option} {}", days.join(","));
}
