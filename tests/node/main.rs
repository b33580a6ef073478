//! The `souk` command, for tests that kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    souk::cli::main()
}
