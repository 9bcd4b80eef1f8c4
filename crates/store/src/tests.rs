//! One contract for every destination, many writers at once, and what other programs say of the result.

mod concurrency;
mod contract;
mod fixture;
mod interop;
mod layout;
mod memory;
mod two_readers;
