//! `tidegate waf`: trying policies, and making room in them.

mod eval;
mod exclude;

use super::Failure;

/// `tidegate waf`
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run requests through a policy and explain every decision
    Eval(eval::Eval),
    /// Print the narrowest exclusion that would have let a logged request pass
    Exclude(exclude::Exclude),
}

/// Carries it out.
pub(super) fn execute(command: &Command, as_json: bool) -> Result<String, Failure> {
    match command {
        Command::Eval(eval) => eval::execute(eval, as_json),
        Command::Exclude(exclude) => exclude::execute(exclude, as_json),
    }
}
