//! Where the instructions are that the VM tests put the kernel's own probes on: found by objdump
//! in the module files, in another way than the program finds them in the running kernel.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use cpio::newc::Reader;

use crate::setup::Package;
use crate::{process, workspace};

/// Modules and the functions in them that turn bottom halves off; of two that a module has, the
/// first is the one.
const FUNCTIONS: [(&str, &[&str]); 3] = [
    ("x_tables", &["do_replace_table", "xt_replace_table"]),
    ("ip_tables", &["do_ipt_set_ctl"]),
    ("ip6_tables", &["do_ip6t_set_ctl"]),
];

/// Lines of an event's name, a module and a function, and an offset: `bh_off x_tables
/// xt_replace_table 0xd2`.
///
/// `folder` is made for the work, and removed.
pub fn sites(modules: &Path, folder: &Path) -> Result<String> {
    workspace::fresh_dir(folder)?;
    let found = sites_in(modules, folder);
    fs::remove_dir_all(folder)?;
    found
}

fn sites_in(modules: &Path, folder: &Path) -> Result<String> {
    let archive = fs::read(modules)?;
    let mut rest = archive.as_slice();
    let mut text = String::new();
    loop {
        let mut reader = Reader::new(rest).context("the modules' archive cannot be read")?;
        let name = reader.entry().name().to_owned();
        if reader.entry().is_trailer() {
            return Ok(text);
        }
        let file = Path::new(&name).file_name().unwrap_or_default();
        let wanted = FUNCTIONS
            .iter()
            .find(|(module, _)| file == format!("{module}.ko").as_str());
        if let Some((module, functions)) = wanted {
            let path = folder.join(file);
            let mut out = fs::File::create(&path)?;
            std::io::copy(&mut reader, &mut out)?;
            let mut objdump = Command::new(Package::BINUTILS.require()?);
            objdump.args(["--disassemble", "--reloc", "--section=.text"]);
            let listing = process::read(objdump.arg(&path))?;
            text.push_str(&of_module(module, functions, &listing));
        }
        rest = reader.finish()?;
    }
}

/// The sites of one module's listing.
fn of_module(module: &str, functions: &[&str], listing: &str) -> String {
    for function in functions {
        let found = of_function(function, listing);
        if !found.is_empty() {
            let line = |(event, offset): &(&str, u64)| {
                format!("{event} {module} {function} {offset:#x}\n")
            };
            return found.iter().map(line).collect();
        }
    }
    String::new()
}

/// Events and offsets in a function: what follows the addition of 0x200 to the preempt count, each
/// call of `__local_bh_enable_ip`, and what follows it.
fn of_function(function: &str, listing: &str) -> Vec<(&'static str, u64)> {
    let mut start = None;
    let mut last = None;
    let mut found = Vec::new();
    // The event of the next instruction, if it has one.
    let mut next: Option<&'static str> = None;
    for line in listing.lines() {
        if let Some((address, name)) = line.strip_suffix(">:").and_then(|l| l.split_once(" <")) {
            start = (name == function)
                .then(|| u64::from_str_radix(address, 16).ok())
                .flatten();
            continue;
        }
        let Some(start) = start else { continue };
        if line.contains("R_X86_64_P") && line.contains("__local_bh_enable_ip") {
            found.extend(last.map(|last| ("bh_on", last)));
            next = Some("bh_back");
            continue;
        }
        let Some((address, code)) = line.split_once(":\t") else {
            continue;
        };
        // A long instruction goes on on a line without a mnemonic.
        let Some(mnemonic) = code.split('\t').nth(1) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address.trim(), 16) else {
            continue;
        };
        last = Some(address - start);
        found.extend(next.take().map(|event| (event, address - start)));
        if mnemonic.starts_with("addl") && mnemonic.contains("$0x200,%gs:") {
            next = Some("bh_off");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::of_module;

    const LISTING: &str = "
0000000000002dd0 <xt_replace_table>:
    2e95:\t72 a7                \tjb     2e3e <xt_replace_table+0x6e>
    2e97:\t65 81 05 00 00 00 00 \taddl   $0x200,%gs:0x0(%rip)        # 2ea2
    2e9e:\t00 02 00 00 
\t\t\t2e9a: R_X86_64_PC32\t__preempt_count-0x8
    2ea2:\t48 8b 04 24          \tmov    (%rsp),%rax
    2ee1:\te8 00 00 00 00       \tcall   2ee6 <xt_replace_table+0x116>
\t\t\t2ee2: R_X86_64_PLT32\t__local_bh_enable_ip-0x4
    2ee6:\t31 d2                \txor    %edx,%edx

0000000000002fd0 <other>:
    2fe1:\te8 00 00 00 00       \tcall   2fe6 <other+0x16>
\t\t\t2fe2: R_X86_64_PLT32\t__local_bh_enable_ip-0x4
";

    #[test]
    fn a_listing_tells_where_bottom_halves_go_off_and_on() {
        let found = of_module(
            "x_tables",
            &["do_replace_table", "xt_replace_table"],
            LISTING,
        );
        assert_eq!(
            found,
            "bh_off x_tables xt_replace_table 0xd2\n\
             bh_on x_tables xt_replace_table 0x111\n\
             bh_back x_tables xt_replace_table 0x116\n"
        );
    }
}
