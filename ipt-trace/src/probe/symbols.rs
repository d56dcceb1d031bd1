//! The kernel's symbols, from `/proc/kallsyms`.

use std::{collections::BTreeSet, fs, io};

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
}

/// What to say where addresses are needed and [`Symbols::are_hidden`].
pub const HIDDEN: &str =
    "the kernel hides its addresses; set kernel.kptr_restrict to 0 or 1 and run with CAP_SYSLOG";

/// One function or object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its first address.
    pub address: u64,
    /// Its name, with the compiler's suffix if it has one.
    pub name: &'a str,
    /// Its module, `None` for the kernel proper.
    pub module: Option<&'a str>,
}

/// The kernel's functions and objects, sorted by address.
#[derive(Debug)]
pub struct Symbols {
    text: String,
    hidden: bool,
    preempt_count: Option<u64>,
    entries: Vec<Entry>,
    /// The functions among them: the hash of what comes before the first dot of the name, and which,
    /// sorted. There are a hundred thousand and more, of which dozens are looked up.
    by_stem: Vec<(u64, u32)>,
    /// The modules that have functions.
    modules: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    is_function: bool,
    /// Where the name is.
    name: Range,
    /// Where the module's name is; empty for the kernel proper.
    module: Range,
}

/// A stretch of [`Symbols::text`]: first byte and length.
type Range = (u32, u16);

impl Symbols {
    /// Reads those of the running kernel.
    pub fn read() -> Result<Self, SymbolError> {
        Self::parse(fs::read_to_string(KALLSYMS)?)
    }

    /// Reads the text of `/proc/kallsyms`: address, type, name, and a module in brackets.
    pub(super) fn parse(text: String) -> Result<Self, SymbolError> {
        let mut entries = Vec::with_capacity(text.len() / 40);
        let mut any_address = false;
        let mut preempt_count = None;
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
            let is_function = matches!(kind, "t" | "T" | "w" | "W");
            preempt_count = preempt_count.or(preempt_count_at(name, address));
            // Low addresses are offsets into per-CPU memory, or hidden and all zero.
            if address >> 63 == 0 && !(is_function && address == 0) {
                continue;
            }
            let module = words
                .next()
                .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'))
                .unwrap_or("");
            let (Some(name), Some(module)) = (range_of(&text, name), range_of(&text, module))
            else {
                return Err(unexpected());
            };
            entries.push(Entry {
                address,
                is_function,
                name,
                module,
            });
        }
        entries.sort_by_key(|entry: &Entry| entry.address);
        let mut symbols = Self {
            text,
            hidden: !any_address,
            preempt_count: preempt_count.filter(|_| any_address),
            entries,
            by_stem: Vec::new(),
            modules: BTreeSet::new(),
        };
        symbols.index();
        Ok(symbols)
    }

    /// Notes what names are looked up by.
    fn index(&mut self) {
        let functions = (0..).zip(&self.entries);
        let functions = functions.filter(|(_, entry)| entry.is_function);
        self.by_stem = functions
            .map(|(place, entry)| (hash(stem(self.word(entry.name))), place))
            .collect();
        self.by_stem.sort_unstable();
        let mut last = (0, 0);
        let mut modules = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| entry.is_function) {
            // Those of a module are next to each other.
            if entry.module.1 > 0 && self.word(entry.module) != self.word(last) {
                last = entry.module;
                modules.insert(self.word(last).to_owned());
            }
        }
        self.modules = modules;
    }

    /// Whether the kernel shows every address as zero: then names can be looked up, and nothing
    /// else.
    pub const fn are_hidden(&self) -> bool {
        self.hidden
    }

    fn word(&self, (start, length): Range) -> &str {
        let start = start as usize;
        &self.text[start..start + usize::from(length)]
    }

    fn symbol(&self, entry: &Entry) -> Symbol<'_> {
        Symbol {
            address: entry.address,
            name: self.word(entry.name),
            module: Some(self.word(entry.module)).filter(|module| !module.is_empty()),
        }
    }

    /// The functions of this module whose names are this one up to the first dot.
    fn related(&self, module: Option<&str>, name: &str) -> impl Iterator<Item = Symbol<'_>> {
        let stem = stem(name);
        let hash = hash(stem);
        let first = self.by_stem.partition_point(|(other, _)| *other < hash);
        let same = self.by_stem[first..].iter();
        let same = same.take_while(move |(other, _)| *other == hash);
        same.filter_map(|(_, place)| self.entries.get(*place as usize))
            .map(|entry| self.symbol(entry))
            .filter(move |symbol| self::stem(symbol.name) == stem && symbol.module == module)
    }

    /// The functions of this name in this module: exactly so, or else with a compiler's suffix.
    pub fn find(&self, module: Option<&str>, name: &str) -> Vec<Symbol<'_>> {
        let related = || self.related(module, name);
        let exact: Vec<_> = related().filter(|symbol| symbol.name == name).collect();
        if !exact.is_empty() {
            return exact;
        }
        let suffixed = |symbol: &Symbol<'_>| {
            symbol
                .name
                .strip_prefix(name)
                .is_some_and(|rest| SUFFIXES.iter().any(|suffix| rest.starts_with(suffix)))
        };
        related().filter(suffixed).collect()
    }

    /// Whether any function of this module is listed.
    pub fn has_module(&self, module: &str) -> bool {
        self.modules.contains(module)
    }

    /// Where the per-CPU preempt count is, in the per-CPU memory's own addresses.
    pub const fn preempt_count(&self) -> Option<u64> {
        self.preempt_count
    }

    /// Whether a function begins at an address.
    pub fn is_function(&self, address: u64) -> bool {
        let after = self.rank(address);
        let here = self.entries[..after].iter().rev();
        here.take_while(|entry| entry.address == address)
            .any(|entry| entry.is_function)
    }

    /// The parts of a function that the compiler put where they are out of the way.
    pub fn cold_parts(&self, main: &Symbol<'_>) -> Vec<Symbol<'_>> {
        let is_cold = |symbol: &Symbol<'_>| {
            let rest = symbol.name.strip_prefix(main.name);
            rest.is_some_and(|rest| rest == ".cold" || rest.starts_with(".cold."))
        };
        self.related(main.module, main.name)
            .filter(is_cold)
            .collect()
    }

    /// How many symbols lie at or below an address.
    fn rank(&self, address: u64) -> usize {
        self.entries
            .partition_point(|entry| entry.address <= address)
    }

    /// The address after a function's last: where the next symbol begins.
    pub fn end_of(&self, symbol: &Symbol<'_>) -> Option<u64> {
        self.entries
            .get(self.rank(symbol.address))
            .map(|next| next.address)
    }

    /// The function or object around an address as `name+0xoffset`, or `name` at its first byte.
    pub fn name_of(&self, address: u64) -> Option<String> {
        let after = self.rank(address);
        // The last symbol has no known end.
        if after == self.entries.len() {
            return None;
        }
        let symbol = self.symbol(self.entries.get(after.checked_sub(1)?)?);
        Some(match address - symbol.address {
            0 => symbol.name.to_owned(),
            offset => format!("{}+{offset:#x}", symbol.name),
        })
    }
}

/// The preempt count's address, if a symbol tells it: from 6.2 to 6.14 it is the second field of
/// `struct pcpu_hot`, after a pointer.
fn preempt_count_at(name: &str, address: u64) -> Option<u64> {
    match name {
        "__preempt_count" => Some(address),
        "pcpu_hot" => address.checked_add(8),
        _ => None,
    }
}

/// What comes before a name's first dot.
fn stem(name: &str) -> &str {
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Where `word` is in the text that it was cut out of.
fn range_of(text: &str, word: &str) -> Option<Range> {
    let length = u16::try_from(word.len()).ok()?;
    if length == 0 {
        return Some((0, 0));
    }
    let start = word.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    Some((u32::try_from(start).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::{SymbolError, Symbols};

    const TEXT: &str = "\
0000000000001000 A per_cpu_thing
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
        assert_eq!(
            name(0xffff_ffff_8100_0208).as_deref(),
            Some("some_data+0x8")
        );
        assert_eq!(name(0x1008), None, "per-CPU offsets are no addresses");
        assert_eq!(name(0xff27_a702_82a5_6470), None, "nor is the heap named");
        let [first] = symbols.find(Some("ip_tables"), "cleanup_entry")[..] else {
            panic!("not exactly one");
        };
        assert_eq!(symbols.end_of(&first), Some(0xffff_ffff_c010_0100));
    }

    #[test]
    fn names_are_found_where_addresses_are_hidden() {
        let text = "0000000000000000 T _stext\n0000000000000000 t xt_replace_table\t[x_tables]\n";
        let hidden = Symbols::parse(text.to_owned()).unwrap();
        assert!(hidden.are_hidden() && !symbols().are_hidden());
        let [swap] = hidden.find(Some("x_tables"), "xt_replace_table")[..] else {
            panic!("not exactly one");
        };
        assert_eq!(hidden.end_of(&swap), None);
        assert_eq!(hidden.name_of(0xffff_ffff_8100_0000), None);
    }

    #[test]
    fn a_strange_line_is_named() {
        let strange = Symbols::parse("ffffffff81000000 T _stext\nnonsense\n".to_owned());
        assert!(matches!(strange, Err(SymbolError::Line { line: 2, .. })));
    }
}
