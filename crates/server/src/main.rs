//! The binary `sockeye`; the program itself is the library beside it.

use std::process::ExitCode;

/// Keeps less memory per connection than the system's allocator, and gives it back sooner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let environment: Vec<_> = std::env::vars_os().collect();
    sockeye_server::run(&arguments, &environment)
}
