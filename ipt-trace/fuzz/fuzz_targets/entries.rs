//! Any bytes for a table's entries are printed or refused: made up, or good ones with changes.
#![no_main]

use ipt_trace::ruleset::properties::{any_entries, changed_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| match input {
    [0, rest @ ..] => any_entries(rest),
    [_, rest @ ..] => changed_entries(rest),
    [] => {}
});
