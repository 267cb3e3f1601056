//! The bus on a real Redis: the contract in each mode, trouble, and Node.js servers beside it.

mod access;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod mixed;
mod support;
mod trouble;
