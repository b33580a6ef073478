//! The `souk` binary; see [`souk::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    souk::cli::main()
}
