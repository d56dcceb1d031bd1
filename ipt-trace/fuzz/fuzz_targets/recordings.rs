//! Any bytes are refused as a recording, or give a report that can be printed and written again.
#![no_main]

use ipt_trace::report::properties::{any_file, any_lines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| match input {
    [0, rest @ ..] => any_file(rest),
    [_, rest @ ..] => any_lines(rest),
    [] => {}
});
