//! The bare floor as a process.
//!
//! `cargo run --release -p sockeye-bench --example floor -- [PORT] [--coalesce]`, or the port in
//! `FIXTURE_PORT`. Prints `READY <port>`.

use sockeye_bench::Floor;
use std::net::{Ipv4Addr, SocketAddr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut port: u16 = match std::env::var("FIXTURE_PORT") {
        Ok(port) => port.parse()?,
        Err(_) => 0,
    };
    let mut coalesce = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--coalesce" => coalesce = true,
            number => port = number.parse()?,
        }
    }
    let floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), coalesce)?;
    println!("READY {}", floor.local_addr()?.port());
    Ok(floor.run()?)
}
