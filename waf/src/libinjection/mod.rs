//! `@detectSQLi` and `@detectXSS`: does this text look like an injection?
//!
//! The Core Rule Set was tuned against libinjection's verdicts (rules 942100 and 941100), so these
//! are the same ones: those of libinjection 3.9.2, which Debian 12 ships inside libmodsecurity
//! 3.0.9, for every input, its oddities included. Where a rule looks strange, it is one of those;
//! the comment beside it says so.
//!
//! Both functions read borrowed bytes, allocate nothing, never panic, and work in time linear in
//! the input. What they leave out is all of libinjection that no verdict depends on: its
//! statistics, its debugging output and its pluggable word lookup.
//!
//! The tables are libinjection's data (BSD-3-Clause, see `NOTICE` beside this file).

#[cfg(test)]
mod noise;
mod sqli;
mod xss;

pub(crate) use sqli::is_sqli;
pub(crate) use xss::is_xss;
