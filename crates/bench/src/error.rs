//! Why a run could not take place.

use std::fmt;
use std::io;

/// A run that ended without a report.
///
/// Connections that fail, are refused or closed do not end a run: they are counted in its
/// [`crate::Report`].
#[derive(Debug)]
pub struct BenchError(Cause);

#[derive(Debug)]
enum Cause {
    Nobody { failed: u32 },
    Process { pid: u32, source: io::Error },
    System(io::Error),
}

impl BenchError {
    pub(crate) fn nobody(failed: u32) -> Self {
        Self(Cause::Nobody { failed })
    }

    pub(crate) fn process(pid: u32, source: io::Error) -> Self {
        Self(Cause::Process { pid, source })
    }

    /// Whether not a single connection could be set up.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.0, Cause::Nobody { .. })
    }

    /// Whether the process to be observed could not be read.
    pub fn is_process(&self) -> bool {
        matches!(self.0, Cause::Process { .. })
    }
}

impl From<io::Error> for BenchError {
    fn from(error: io::Error) -> Self {
        Self(Cause::System(error))
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Nobody { failed } => write!(f, "none of {failed} connections could be set up"),
            Cause::Process { pid, .. } => write!(f, "process {pid} cannot be observed"),
            Cause::System(_) => f.write_str("the generator's own input and output failed"),
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::Nobody { .. } => None,
            Cause::Process { source, .. } | Cause::System(source) => Some(source),
        }
    }
}
