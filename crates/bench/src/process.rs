//! CPU time and memory as the operating system counts them (Linux, `/proc`).

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::ops::Sub;

/// CPU time in seconds. The system's grain is 0.01 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuTime {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

impl CpuTime {
    /// Both.
    pub fn total(&self) -> f64 {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident set.
    pub rss: u64,
    /// Proportional share: pages shared with other processes count in part. The resident set
    /// where the system does not tell.
    pub pss: u64,
}

/// Reads one process.
#[derive(Debug, Clone)]
pub struct ProcessSampler {
    folder: String,
    ticks: f64,
}

impl ProcessSampler {
    /// Observes a process.
    ///
    /// # Errors
    ///
    /// If there is none with this number, or the system has no `/proc`.
    pub fn new(pid: u32) -> io::Result<Self> {
        let sampler = Self::at(format!("/proc/{pid}"));
        sampler.cpu()?;
        Ok(sampler)
    }

    fn at(folder: String) -> Self {
        Self {
            folder,
            ticks: rustix::param::clock_ticks_per_second() as f64,
        }
    }

    /// CPU time since the process began, of all its threads, from `stat`.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn cpu(&self) -> io::Result<CpuTime> {
        let stat = fs::read_to_string(format!("{}/stat", self.folder))?;
        let (user, system) = stat_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(CpuTime {
            user: user as f64 / self.ticks,
            system: system as f64 / self.ticks,
        })
    }

    /// Resident memory now, in bytes, from `statm`: cheap enough to be read often, where
    /// [`ProcessSampler::memory`] makes the kernel walk all pages.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn resident(&self) -> io::Result<u64> {
        let statm = fs::read_to_string(format!("{}/statm", self.folder))?;
        let pages = statm.split_ascii_whitespace().nth(1);
        let pages: u64 = pages
            .and_then(|pages| pages.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(pages * rustix::param::page_size() as u64)
    }

    /// Memory now, from `smaps_rollup`, or from `status` where that is not readable.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        if let Ok(rollup) = fs::read_to_string(format!("{}/smaps_rollup", self.folder))
            && let (Some(rss), Some(pss)) = (kilobytes(&rollup, "Rss:"), kilobytes(&rollup, "Pss:"))
        {
            return Ok(Memory { rss, pss });
        }
        let status = fs::read_to_string(format!("{}/status", self.folder))?;
        let rss = kilobytes(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
        Ok(Memory { rss, pss: rss })
    }
}

/// CPU time of the calling thread and how long it was ready to run but did not, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadTime {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
}

impl ThreadTime {
    /// Zero where the system does not tell.
    pub(crate) fn now() -> Self {
        let Ok(text) = fs::read_to_string("/proc/thread-self/schedstat") else {
            return Self::default();
        };
        let mut fields = text
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0));
        Self {
            running: fields.next().unwrap_or(0),
            waiting: fields.next().unwrap_or(0),
        }
    }
}

/// CPU seconds that the whole machine has worked since it started; `None` where the system does
/// not tell.
pub(crate) fn machine_cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    Some(machine_ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn machine_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let idle = fields.get(3)? + fields.get(4)?;
    Some(fields.iter().take(8).sum::<u64>() - idle)
}

/// `utime` and `stime`: fields 14 and 15 of proc_pid_stat(5). The name before them may contain
/// anything, parentheses and spaces included.
fn stat_ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_confuse() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 1 0 99 1 1";
        assert_eq!(stat_ticks(stat), Some((123, 45)));
        assert_eq!(stat_ticks("7 (x) S 1"), None);
    }

    #[test]
    fn kilobytes_are_bytes() {
        let text = "Name:\tx\nVmRSS:\t    1716 kB\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(1716 * 1024));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
        assert_eq!(
            machine_ticks("cpu  1 2 3 400 500 6 7 8 9 9\ncpu0 1"),
            Some(27)
        );
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let sampler = ProcessSampler::new(std::process::id()).unwrap();
        let before = sampler.cpu().unwrap();
        let mut value = 1u64;
        while sampler.cpu().unwrap().total() - before.total() < 0.02 {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        let memory = sampler.memory().unwrap();
        assert!(memory.rss > 100_000 && memory.pss <= memory.rss);
        let resident = sampler.resident().unwrap();
        assert!(resident > memory.rss / 2 && resident < memory.rss * 2);
        assert!(ProcessSampler::new(u32::MAX).is_err());
    }
}
