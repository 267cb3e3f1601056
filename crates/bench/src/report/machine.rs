//! Where the generator ran and when, for whoever reads the report elsewhere.

use serde::Serialize;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the generator ran and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// When the run began, UTC, as RFC 3339 writes it.
    pub began: String,
    /// Version of the generator.
    pub version: String,
    /// Operating system and its release.
    pub system: String,
    /// Model of the processor; empty where the system does not tell.
    pub processor: String,
    /// Cores that the generator may run on.
    pub cores: usize,
    /// Memory in bytes; 0 where the system does not tell.
    pub memory: u64,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let name = rustix::system::uname();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
        Self {
            began: utc(SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_secs())),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: format!(
                "{} {} {}",
                name.sysname().to_string_lossy(),
                name.release().to_string_lossy(),
                name.machine().to_string_lossy(),
            ),
            processor: field(&text("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory.unwrap_or(0) * 1024,
        }
    }
}

/// Seconds since 1970 as date and time.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March on, so that the leap day is the last of one; 719,468 days lie
    // between 0000-03-01 and 1970-01-01, and 146,097 make 400 years.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn this_machine_has_a_core() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && !machine.system.is_empty());
    }
}
