//! A server of several processes: a cluster's primary and its workers, or a proxy and what is
//! behind it.

use crate::process::{CpuTime, Memory, ProcessSampler};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Reads several processes as one.
#[derive(Debug, Clone)]
pub(crate) struct Processes(Vec<(u32, ProcessSampler)>);

impl Processes {
    /// Observes these; the first that cannot be observed is named by the error.
    pub(crate) fn new(pids: &[u32]) -> Result<Self, (u32, io::Error)> {
        let samplers = pids.iter().map(|&pid| {
            let sampler = ProcessSampler::new(pid).map_err(|error| (pid, error))?;
            Ok((pid, sampler))
        });
        Ok(Self(samplers.collect::<Result<_, _>>()?))
    }

    /// CPU time of all.
    pub(crate) fn cpu(&self) -> io::Result<CpuTime> {
        self.sum(CpuTime::default(), ProcessSampler::cpu, |a, b| CpuTime {
            user: a.user + b.user,
            system: a.system + b.system,
        })
    }

    /// Memory of all. Pages that they share count once in the proportional share, and once for
    /// each in the resident set.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        self.sum(Memory::default(), ProcessSampler::memory, |a, b| Memory {
            rss: a.rss + b.rss,
            pss: a.pss + b.pss,
        })
    }

    /// Resident memory of all, cheap enough to be read often.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        self.sum(0, ProcessSampler::resident, |a, b| a + b)
    }

    fn sum<T>(
        &self,
        zero: T,
        read: impl Fn(&ProcessSampler) -> io::Result<T>,
        add: impl Fn(T, T) -> T,
    ) -> io::Result<T> {
        let mut all = self.0.iter();
        all.try_fold(zero, |sum, (_, process)| Ok(add(sum, read(process)?)))
    }
}

/// A process and all that descend from it, itself first; only itself where the system does not
/// tell.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        // Each process has one parent: none is found twice.
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Field 4 of proc_pid_stat(5). The name before it may contain anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    struct Cat(Child);

    impl Cat {
        fn new() -> Self {
            let mut command = Command::new("cat");
            Self(command.stdin(Stdio::piped()).spawn().unwrap())
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_tree_has_its_children_and_they_add_up() {
        let (one, two) = (Cat::new(), Cat::new());
        let own = std::process::id();
        let family = tree(own);
        assert_eq!(family[0], own);
        assert!(family.contains(&one.0.id()) && family.contains(&two.0.id()));
        let pair = Processes::new(&[own, one.0.id()]).unwrap();
        let alone = Processes::new(&[one.0.id()]).unwrap();
        let (pair, alone) = (pair.memory().unwrap(), alone.memory().unwrap());
        assert!(alone.rss > 0 && pair.rss > alone.rss && pair.pss > alone.pss);
    }

    #[test]
    fn the_missing_one_is_named() {
        let missing = u32::MAX;
        let error = Processes::new(&[std::process::id(), missing]).unwrap_err();
        assert_eq!(error.0, missing);
        assert_eq!(tree(missing), [missing]);
    }

    #[test]
    fn the_name_of_a_process_does_not_confuse() {
        assert_eq!(parent("7 (a) b) (c) S 31 7 7 0"), Some(31));
        assert_eq!(parent("7 (x"), None);
    }
}
