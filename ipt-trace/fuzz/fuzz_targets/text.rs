//! Any bytes for a kernel function: sites are found in it or not.
#![no_main]

use ipt_trace::probe::sites::any_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| any_bytes(input.0, input.1));
