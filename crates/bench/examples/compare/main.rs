//! Servers side by side: interleaved runs, pinned, medians and ratios, a page with plots.
//!
//! `make bench` builds everything and runs this from the root of the repository; `--help` names the
//! flags. Each run has a fresh server process on one core, told its port in `PORT`; the generator
//! works on the other core.

mod cases;
mod document;
mod measure;
mod plot;
mod results;
mod servers;

use cases::{CASES, Case, Times};
use measure::{Setting, measure};
use results::{Missing, Results, Run};
use servers::{KNOWN, Known, Places, Role};
use sockeye_bench::Floor;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
Usage: compare [flags]        measure, print the budgets, write the page
       compare document       write the page again from the results

  --only CASES               cases, comma-separated [all]
  --servers SERVERS          servers, comma-separated [all that are installed]
  --rounds N                 interleaved rounds [5, quick 1]
  --long-rounds N            rounds of the cases that take minutes [1]
  --quick                    shorter, rougher
  --smoke                    seconds only: whether everything works; few connections
  --caution TEXT             say in the page why its figures are not to be quoted
  --cores SERVER,GENERATOR   where to run [0,1]
  --page FILE                [docs/benchmarks.md]; plots and results go into the folder of that name
  --ours FILE                our server [target/release/examples/bench_server]
  --rust FOLDER              built Rust peers [target/peers/release]
  --peers FOLDER             sources of the peers [benchmarks/peers]
";

struct Options {
    only: Vec<String>,
    servers: Vec<String>,
    rounds: Option<usize>,
    long_rounds: usize,
    times: Times,
    most: u32,
    quick: bool,
    caution: Option<String>,
    cores: (usize, usize),
    page: PathBuf,
    places: Places,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = match arguments.peek().map(String::as_str) {
        Some("serve-floor") => serve_floor(),
        Some("--help" | "-h") => {
            print!("{HELP}");
            Ok(true)
        }
        Some("document") => {
            arguments.next();
            parse(arguments).and_then(|options| rewrite(&options))
        }
        _ => parse(arguments).and_then(|options| campaign(&options)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn serve_floor() -> Result<bool, Box<dyn Error>> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let mut floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), false)?;
    if let Ok(seconds) = std::env::var("BENCH_HEARTBEAT") {
        floor.beat(Duration::from_secs(seconds.parse()?));
    }
    floor.run()?;
    Ok(true)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut peers = PathBuf::from("benchmarks/peers");
    let mut options = Options {
        only: Vec::new(),
        servers: Vec::new(),
        rounds: None,
        long_rounds: 1,
        times: Times::FULL,
        most: u32::MAX,
        quick: false,
        caution: None,
        cores: (0, 1),
        page: "docs/benchmarks.md".into(),
        places: Places {
            ours: "target/release/examples/bench_server".into(),
            rust: "target/peers/release".into(),
            rust_lock: PathBuf::new(),
            node: PathBuf::new(),
        },
    };
    let list = |value: &str| -> Vec<String> { value.split(',').map(String::from).collect() };
    while let Some(flag) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{flag} needs a value"))
        };
        match flag.as_str() {
            "--quick" => (options.quick, options.times) = (true, Times::QUICK),
            "--smoke" => {
                (options.quick, options.times, options.most) = (true, Times::SMOKE, 50);
                options.rounds = options.rounds.or(Some(1));
            }
            "--only" => options.only = list(&value()?),
            "--servers" => options.servers = list(&value()?),
            "--rounds" => options.rounds = Some(value()?.parse()?),
            "--long-rounds" => options.long_rounds = value()?.parse()?,
            "--caution" => options.caution = Some(value()?),
            "--cores" => {
                let value = value()?;
                let (server, generator) =
                    value.split_once(',').ok_or("--cores SERVER,GENERATOR")?;
                options.cores = (server.parse()?, generator.parse()?);
            }
            "--page" => options.page = value()?.into(),
            "--ours" => options.places.ours = value()?.into(),
            "--rust" => options.places.rust = value()?.into(),
            "--peers" => peers = value()?.into(),
            _ => return Err(format!("unknown flag {flag}\n\n{HELP}").into()),
        }
    }
    options.places.rust_lock = peers.join("rust/Cargo.lock");
    options.places.node = peers.join("node/server.js");
    let known = |name: &String, mut names: Box<dyn Iterator<Item = &'static str>>| {
        names.any(|known| known == name)
    };
    for name in &options.only {
        if !known(name, Box::new(CASES.iter().map(|case| case.id))) {
            return Err(format!("no such case: {name}").into());
        }
    }
    for name in &options.servers {
        if !known(name, Box::new(KNOWN.iter().map(|server| server.id))) {
            return Err(format!("no such server: {name}").into());
        }
    }
    Ok(options)
}

impl Options {
    fn plots(&self) -> PathBuf {
        self.page.with_extension("")
    }

    fn results(&self) -> PathBuf {
        self.plots().join("results.json")
    }

    fn wants_case(&self, case: &Case) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == case.id)
    }

    fn wants(&self, server: &Known) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|name| name == server.id)
    }
}

fn rewrite(options: &Options) -> Result<bool, Box<dyn Error>> {
    let results = Results::read(&options.results())?;
    document::write(&results, &options.page, &options.plots())?;
    Ok(true)
}

/// Measures and writes; whether every run of ours went without faults.
fn campaign(options: &Options) -> Result<bool, Box<dyn Error>> {
    // Before this thread is pinned, as that hides the other cores.
    let machine = servers::machine();
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(options.cores.1);
    rustix::thread::sched_setaffinity(None, &cpus)?;
    let (versions, mut missing) = servers::versions(&options.places);
    let mut ready: Vec<&Known> = Vec::new();
    for server in KNOWN.iter().filter(|server| options.wants(server)) {
        match server.missing(&options.places, &versions) {
            None => ready.push(server),
            Some(why)
                if missing
                    .iter()
                    .any(|known: &Missing| known.what == server.id) =>
            {
                eprintln!("left out: {} – {why}", server.name);
            }
            Some(why) => {
                eprintln!("left out: {} – {why}", server.name);
                missing.push(Missing {
                    what: server.name.into(),
                    why,
                });
            }
        }
    }
    let mut results = Results {
        when: now(),
        caution: options.caution.clone().or_else(|| {
            let rough = "It is the result of a short run that shows what the page looks like.";
            options.quick.then(|| rough.to_owned())
        }),
        machine,
        versions,
        missing,
        runs: Vec::new(),
    };
    let setting = Setting {
        places: &options.places,
        times: options.times,
        server_core: options.cores.0,
        most: options.most,
    };
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    let (began, mut failed) = (Instant::now(), 0);
    for round in 1..=rounds.max(options.long_rounds) {
        for case in CASES.iter().filter(|case| options.wants_case(case)) {
            let enough = if case.long {
                options.long_rounds
            } else {
                rounds
            };
            let take_part = ready
                .iter()
                .filter(|server| case.servers.contains(&server.id));
            for server in take_part.filter(|_| round <= enough) {
                match measure(case, server, round, &setting) {
                    Ok(run) => {
                        eprintln!("{}", glance(began, &run));
                        failed += usize::from(server.role == Role::Ours && !run.faults.is_empty());
                        results.runs.push(run);
                    }
                    Err(error) => {
                        eprintln!("{round} {} {}: {error}", case.id, server.id);
                        failed += usize::from(server.role != Role::Peer);
                    }
                }
            }
        }
    }
    println!("{}", document::budgets(&results));
    std::fs::create_dir_all(options.plots())?;
    let whole = options.only.is_empty() && options.servers.is_empty();
    let results = match Results::read(&options.results()) {
        Ok(mut earlier) if !whole => {
            // What earlier runs were cautioned about is still on the page.
            let caution = results.caution.clone().or(earlier.caution.take());
            earlier.merge(results);
            earlier.caution = caution;
            earlier
        }
        _ => results,
    };
    results.write(&options.results())?;
    document::write(&results, &options.page, &options.plots())?;
    eprintln!(
        "{} written, {:.0} s",
        options.page.display(),
        began.elapsed().as_secs_f64()
    );
    Ok(failed == 0)
}

fn glance(began: Instant, run: &Run) -> String {
    let shown = [
        "cpu_us",
        "per_second",
        "p99_ms",
        "rss_each",
        "left",
        "idle_cpu",
        "deflations",
    ];
    let figures = shown.iter().filter_map(|name| {
        let value = run.figures.get(*name)?;
        Some(format!("{name} {}", plot::number(*value)))
    });
    format!(
        "{:>5.0} s  {} {} {}: {}, others {:.2} cores{}",
        began.elapsed().as_secs_f64(),
        run.round,
        run.case,
        run.server,
        figures.collect::<Vec<_>>().join(", "),
        run.others,
        match run.faults.as_str() {
            "" => String::new(),
            faults => format!(", FAULTS: {faults}"),
        },
    )
}

/// The time as `2026-11-21 05:11 UTC`.
fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (minutes, days) = (
        since.as_secs() / 60 % 1440,
        (since.as_secs() / 86_400) as i64,
    );
    // The proleptic Gregorian calendar, counted in eras of 400 years from 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02} {:02}:{:02} UTC",
        minutes / 60,
        minutes % 60
    )
}
