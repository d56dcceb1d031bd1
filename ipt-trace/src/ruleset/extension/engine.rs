//! Parses and prints every extension from its description.

use super::value::put;
use super::{Context, Extension, Opt, Shown, Value};

impl Extension {
    /// Writes the struct as it is before any option; `data` is zero.
    pub fn initialise(&self, data: &mut [u8]) {
        for (at, bytes) in self.initial {
            put(data, *at, bytes);
        }
    }

    /// The option of this name, exactly.
    pub fn option(&self, name: &[u8]) -> Option<usize> {
        self.options
            .iter()
            .position(|option| option.names().any(|known| known.as_bytes() == name))
    }

    /// Takes an option with its words into the struct; `given` remembers what came before.
    pub fn parse_option(
        &self,
        index: usize,
        invert: bool,
        words: &[&[u8]],
        context: Context,
        given: &mut u64,
        data: &mut [u8],
    ) -> Result<(), String> {
        let option = &self.options[index];
        let complain = |problem: String| format!("--{}: {problem}", option.name);
        self.check_company(index, *given).map_err(complain)?;
        *given |= 1 << index;
        if let Some(bits) = option.given {
            bits.set(data, bits.mask);
        }
        match (invert, option.inverted) {
            (false, _) => {}
            (true, Some(bits)) => bits.set(data, bits.mask),
            (true, None) => return Err(complain("\"!\" cannot stand before it".to_owned())),
        }
        match option.value {
            Value::Text { at, len, min } | Value::Bare { at, len, min } => {
                return parse_text(words[0], min, &mut data[at..at + len]).map_err(complain);
            }
            Value::Bytes { parse, .. } => return parse(words[0], data).map_err(complain),
            _ => {}
        }
        if !invert && option.inverted.is_some() && words.contains(&b"!".as_slice()) {
            return Err(complain(
                "\"!\" stands before an option, not behind it".to_owned(),
            ));
        }
        let mut texts = [""; 2];
        for (text, word) in texts.iter_mut().zip(words) {
            *text = std::str::from_utf8(word)
                .map_err(|_| complain("its value is not UTF-8".to_owned()))?;
        }
        let context = Context {
            inverted: invert,
            // What it works for, also where `-p` comes only later.
            protocol: self.protocol.unwrap_or(context.protocol),
            ..context
        };
        option
            .value
            .parse(&texts[..words.len()], context, data)
            .map_err(complain)
    }

    /// Whether the option may stand beside those given before.
    fn check_company(&self, index: usize, given: u64) -> Result<(), String> {
        let option = &self.options[index];
        if given & 1 << index != 0 && !option.repeatable {
            return Err("given twice".to_owned());
        }
        let rival = self.options.iter().enumerate().find(|(other, rival)| {
            given & 1 << other != 0
                && *other != index
                && !rival.only_one_of.is_empty()
                && rival.only_one_of == option.only_one_of
        });
        match rival {
            Some((_, rival)) => Err(format!("cannot stand beside --{}", rival.name)),
            None => Ok(()),
        }
    }

    /// Checks what can only be checked when all options are there.
    pub fn finish(&self, given: u64, context: Context, data: &mut [u8]) -> Result<(), String> {
        for (index, option) in self.options.iter().enumerate() {
            if option.required && given & 1 << index == 0 {
                return Err(format!("{} needs --{}", self.name, option.name));
            }
        }
        match self.finish {
            Some(finish) => {
                finish(given, context, data).map_err(|problem| format!("{}: {problem}", self.name))
            }
            None => Ok(()),
        }
    }

    /// Writes the options that say what the struct holds, each with a space before it.
    pub fn print(&self, data: &[u8], out: &mut Vec<u8>) {
        for option in self.options {
            if let Shown::Whole(print) = option.shown {
                print(data, out);
                continue;
            }
            if !self.is_shown(option, data) {
                continue;
            }
            if option.inverted.is_some_and(|bits| bits.is_set(data)) {
                out.extend_from_slice(b" !");
            }
            out.extend_from_slice(b" --");
            out.extend_from_slice(option.name.as_bytes());
            option.value.print(data, out);
        }
    }

    fn is_shown(&self, option: &Opt, data: &[u8]) -> bool {
        match option.shown {
            Shown::Given => option.given.is_some_and(|bits| bits.is_set(data)),
            Shown::Set(bits) => bits.is_set(data),
            Shown::Equals(bits, value) => bits.get(data) == value,
            Shown::If(says) => says(data),
            Shown::Changed => self.is_changed(option, data),
            Shown::ChangedOrInverted => {
                self.is_changed(option, data)
                    || option.inverted.is_some_and(|bits| bits.is_set(data))
            }
            Shown::Always => true,
            Shown::Never | Shown::Whole(_) => false,
        }
    }

    fn is_changed(&self, option: &Opt, data: &[u8]) -> bool {
        let initial_byte = |at: usize| {
            self.initial
                .iter()
                .find_map(|(start, bytes)| bytes.get(at.checked_sub(*start)?))
                .copied()
                .unwrap_or(0)
        };
        option.value.spans().any(|(at, len)| {
            let overlaps =
                |(start, bytes): &(usize, &[u8])| *start < at + len && at < start + bytes.len();
            if self.initial.iter().any(overlaps) {
                (at..at + len).any(|at| data[at] != initial_byte(at))
            } else {
                data[at..at + len].iter().any(|byte| *byte != 0)
            }
        })
    }
}

/// Copies text into a zero-terminated field.
fn parse_text(word: &[u8], min: usize, field: &mut [u8]) -> Result<(), String> {
    if word.len() < min {
        return Err("its value is empty".to_owned());
    }
    if word.contains(&0) {
        return Err("its value has a zero byte".to_owned());
    }
    let length = word.len().min(field.len() - 1);
    field[..length].copy_from_slice(&word[..length]);
    // What stood there before stays behind the zero, as it does for iptables.
    field[length] = 0;
    Ok(())
}
