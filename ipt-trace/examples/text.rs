//! Writes the running kernel's text of the functions that instructions are looked for in, as the
//! tests of `probe::sites` read it (tests/text). Run as root, with a table of each family in use.

use std::{collections::BTreeMap, error::Error, fs};

use ipt_trace::probe::sites::KernelText;

const FUNCTIONS: [&str; 7] = [
    "xt_replace_table",
    "do_replace_table",
    "__do_replace",
    "do_ipt_set_ctl",
    "do_ipt_get_ctl",
    "do_ip6t_set_ctl",
    "do_ip6t_get_ctl",
];
const MODULES: [&str; 3] = ["[x_tables]", "[ip_tables]", "[ip6_tables]"];
const SYMBOLS: [&str; 4] = [
    "__preempt_count",
    "pcpu_hot",
    "__local_bh_enable_ip",
    "__pfx___local_bh_enable_ip",
];

fn main() -> Result<(), Box<dyn Error>> {
    let text = KernelText::open()?;
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let symbols: Vec<_> = symbols.lines().filter_map(symbol).collect();
    let mut starts: Vec<u64> = symbols.iter().map(|symbol| symbol.0).collect();
    starts.sort_unstable();
    println!("# {}", fs::read_to_string("/proc/version")?.trim());
    let mut wanted = BTreeMap::new();
    for (address, kind, name, module) in symbols {
        let is_function = matches!(kind, "t" | "T" | "w" | "W");
        if !is_function && !SYMBOLS.contains(&name) {
            continue;
        }
        if MODULES.contains(&module) {
            println!("{address:#x} {name} {module}");
            if FUNCTIONS.contains(&name.split('.').next().unwrap_or(name)) {
                wanted.insert(address, (name, module));
            }
        } else if SYMBOLS.contains(&name) || (module.is_empty() && name.ends_with("_thunk")) {
            println!("{address:#x} {name}");
        }
    }
    for (address, (name, module)) in wanted {
        let after = starts.partition_point(|start| *start <= address);
        let end = starts.get(after).ok_or("the last symbol has no end")?;
        println!("text {address:#x} {name} {module}");
        for line in text.read(&(address..*end))?.chunks(48) {
            for byte in line {
                print!("{byte:02x}");
            }
            println!();
        }
    }
    Ok(())
}

/// Address, kind, name and module.
fn symbol(line: &str) -> Option<(u64, &str, &str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let (kind, name) = (words.next()?, words.next()?);
    Some((address, kind, name, words.next().unwrap_or("")))
}
