//! The program: see `ipt_trace::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipt_trace::cli::main()
}
