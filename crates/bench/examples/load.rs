//! The load generator as a command of its own, without the server: `sockeye bench`.
//!
//! `cargo run --release -p sockeye-bench --example load -- echo --url http://127.0.0.1:3000`;
//! `--help` names scenarios, flags and exit statuses.

fn main() -> std::process::ExitCode {
    sockeye_bench::command::main(std::env::args().skip(1))
}
