//! The kernel's symbols, from `/proc/kallsyms`.

use std::{fs, io};

/// Where the kernel lists its symbols.
const KALLSYMS: &str = "/proc/kallsyms";

/// Suffixes that compilers give to functions whose arguments they changed. The entry of such a
/// function is still the entry of the one that the source names; `.part` and `.cold` are not.
const SUFFIXES: [&str; 3] = [".isra.", ".constprop.", ".llvm."];

/// Why the symbols cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// The file cannot be read.
    #[error("{KALLSYMS} cannot be read ({0}); the kernel needs CONFIG_KALLSYMS")]
    Unreadable(#[from] io::Error),
    /// A line is not as expected.
    #[error("{KALLSYMS} has an unexpected line {line}: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Every address is shown as zero.
    #[error(
        "the kernel hides its addresses; set kernel.kptr_restrict to 0 or 1 and run with \
         CAP_SYSLOG"
    )]
    Hidden,
}

/// One function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its first address.
    pub address: u64,
    /// Its name, with the compiler's suffix if it has one.
    pub name: &'a str,
    /// Its module, `None` for the kernel proper.
    pub module: Option<&'a str>,
}

/// The kernel's functions, sorted by address.
#[derive(Debug)]
pub struct Symbols {
    text: String,
    /// Address, and where in `text` the name and the module are.
    entries: Vec<(u64, Range, Range)>,
}

/// A stretch of [`Symbols::text`]: first byte and length.
type Range = (u32, u16);

impl Symbols {
    /// Reads those of the running kernel.
    pub fn read() -> Result<Self, SymbolError> {
        Self::parse(fs::read_to_string(KALLSYMS)?)
    }

    /// Reads the text of `/proc/kallsyms`: address, type, name, and a module in brackets.
    fn parse(text: String) -> Result<Self, SymbolError> {
        let mut entries = Vec::with_capacity(text.len() / 40);
        let mut any_address = false;
        let mut start = 0;
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let unexpected = || SymbolError::Line {
                line: n + 1,
                text: line.trim_end().to_owned(),
            };
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(unexpected());
            };
            let address = u64::from_str_radix(address, 16).map_err(|_| unexpected())?;
            any_address |= address != 0;
            if matches!(kind, "t" | "T" | "w" | "W") {
                let module = words
                    .next()
                    .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'))
                    .unwrap_or("");
                let range = |word: &str| -> Option<Range> {
                    let offset = word.as_ptr().addr().checked_sub(line.as_ptr().addr());
                    let offset = if word.is_empty() { Some(0) } else { offset };
                    Some((
                        u32::try_from(start + offset?).ok()?,
                        u16::try_from(word.len()).ok()?,
                    ))
                };
                let (Some(name), Some(module)) = (range(name), range(module)) else {
                    return Err(unexpected());
                };
                entries.push((address, name, module));
            }
            start += line.len();
        }
        if !any_address {
            return Err(SymbolError::Hidden);
        }
        entries.sort_by_key(|&(address, ..)| address);
        Ok(Self { text, entries })
    }

    fn word(&self, (start, length): Range) -> &str {
        let start = start as usize;
        &self.text[start..start + usize::from(length)]
    }

    fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let &(address, name, module) = self.entries.get(index)?;
        Some(Symbol {
            address,
            name: self.word(name),
            module: Some(self.word(module)).filter(|module| !module.is_empty()),
        })
    }

    fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.entries.len()).filter_map(|index| self.symbol(index))
    }

    /// The functions of this name in this module: exactly so, or else with a compiler's suffix.
    pub fn find(&self, module: Option<&str>, name: &str) -> Vec<Symbol<'_>> {
        let here = |symbol: &Symbol<'_>| symbol.module == module;
        let exact: Vec<_> = self
            .iter()
            .filter(|symbol| symbol.name == name && here(symbol))
            .collect();
        if !exact.is_empty() {
            return exact;
        }
        let suffixed = |symbol: &Symbol<'_>| {
            symbol
                .name
                .strip_prefix(name)
                .is_some_and(|rest| SUFFIXES.iter().any(|suffix| rest.starts_with(suffix)))
        };
        self.iter()
            .filter(|symbol| suffixed(symbol) && here(symbol))
            .collect()
    }

    /// Whether any function of this module is listed.
    pub fn has_module(&self, module: &str) -> bool {
        self.iter().any(|symbol| symbol.module == Some(module))
    }

    /// The address after a function's last: where the next one begins.
    pub fn end_of(&self, symbol: &Symbol<'_>) -> Option<u64> {
        let next = self
            .entries
            .partition_point(|&(address, ..)| address <= symbol.address);
        self.entries.get(next).map(|&(address, ..)| address)
    }

    /// The function around an address as `name+0xoffset`, or `name` at its first byte.
    pub fn name_of(&self, address: u64) -> Option<String> {
        let after = self
            .entries
            .partition_point(|&(start, ..)| start <= address);
        // The last listed function has no known end, and neither has one far below.
        if after == self.entries.len() {
            return None;
        }
        let symbol = self.symbol(after.checked_sub(1)?)?;
        Some(match address - symbol.address {
            0 => symbol.name.to_owned(),
            offset => format!("{}+{offset:#x}", symbol.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{SymbolError, Symbols};

    const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t get_counters.isra.0
ffffffff81000200 D some_data
ffffffff81000300 t smp_call_function_many_cond
ffffffff81000400 t smp_call_function_many_cond.cold
ffffffffc0100100 t translate_table\t[ip_tables]
ffffffffc0100000 t cleanup_entry\t[ip_tables]
ffffffffc0200000 t translate_table\t[ip6_tables]
ffffffffc0200100 t cleanup_entry\t[ip6_tables]
";

    fn symbols() -> Symbols {
        Symbols::parse(TEXT.to_owned()).unwrap()
    }

    #[test]
    fn a_name_is_looked_up_within_its_module() {
        let symbols = symbols();
        let found = symbols.find(Some("ip6_tables"), "translate_table");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address, 0xffff_ffff_c020_0000);
        assert!(symbols.find(None, "translate_table").is_empty());
        assert!(symbols.has_module("ip_tables"));
        assert!(!symbols.has_module("x_tables"));
    }

    #[test]
    fn a_compilers_suffix_is_found_but_not_a_cold_part() {
        let symbols = symbols();
        let found = symbols.find(None, "get_counters");
        assert_eq!(found[0].name, "get_counters.isra.0");
        let found = symbols.find(None, "smp_call_function_many_cond");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "smp_call_function_many_cond");
        assert!(symbols.find(None, "smp_call_function_many").is_empty());
    }

    #[test]
    fn addresses_lead_to_names() {
        let symbols = symbols();
        let name = |address| symbols.name_of(address);
        assert_eq!(name(0xffff_ffff_8100_0000).as_deref(), Some("_stext"));
        assert_eq!(
            name(0xffff_ffff_c010_0112).as_deref(),
            Some("translate_table+0x12")
        );
        assert_eq!(name(0x1000), None);
        let [first] = symbols.find(Some("ip_tables"), "cleanup_entry")[..] else {
            panic!("not exactly one");
        };
        assert_eq!(symbols.end_of(&first), Some(0xffff_ffff_c010_0100));
    }

    #[test]
    fn hidden_addresses_and_strange_lines_are_told_apart() {
        let hidden = Symbols::parse("0000000000000000 T _stext\n".to_owned());
        assert!(matches!(hidden, Err(SymbolError::Hidden)));
        let strange = Symbols::parse("ffffffff81000000 T _stext\nnonsense\n".to_owned());
        assert!(matches!(strange, Err(SymbolError::Line { line: 2, .. })));
    }
}
