//! Tidegate: an edge reverse proxy and traffic manager. This package only composes: the data
//! path is in `proxy`, the control plane in `control`, certificates in `certs`, the document in
//! `config`.

mod boot;
mod cli;
mod demo;
mod edge;
mod handover;
mod logging;
mod process;
mod sealing;
mod upgrade_socket;

use clap::Parser;
use std::process::ExitCode;

/// Bounded fragmentation and per-thread caches: what a server of many small requests wants.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything else: whoever comes first decides, and the post-quantum groups are here.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("tidegate: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    let cli::Cli { remote, command } = cli::Cli::parse();
    match command {
        cli::Command::Run(run) => boot::run(&run),
        cli::Command::Demo(demo) => demo::run(&demo, &remote),
        cli::Command::Verb(verb) => carry_out(&remote, &verb),
    }
}

/// A verb talks to the API of a running process, or to nobody.
fn carry_out(remote: &cli::Remote, verb: &cli::Verb) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli::execute(remote, verb)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
