//! Any text is refused, or can be laid out, printed and read back as the same bytes.
#![no_main]

use ipt_trace::ruleset::properties::rules_read_back;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| rules_read_back(input));
