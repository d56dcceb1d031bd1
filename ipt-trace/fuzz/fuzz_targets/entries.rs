//! Any bytes for a table's entries are printed or refused: made up, a good rule with made-up data, or good ones
//! with changes.
#![no_main]

use ipt_trace::ruleset::properties::{any_entries, any_extension, changed_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| match input {
    [0, rest @ ..] => any_entries(rest),
    [1, rest @ ..] => any_extension(rest),
    [_, rest @ ..] => changed_entries(rest),
    [] => {}
});
