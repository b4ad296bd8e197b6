//! Speaks the framing of `crs_runner.py` and `oracle.c`.
//!
//! `crs_stdio FILE...` loads rule files in their order. Then, until standard input ends, it
//! reads a line `<request bytes> <response bytes>` and the raw request and response, and
//! prints `{"ids": [..], "status": N}`. With `--check` the prefilter is checked on every
//! value, and a match that it would have missed ends the program. `--paranoia N` and
//! `--threshold N` set the policy's; `--notices` lists what has no effect.

use std::{
    io::{self, BufRead, Read, Write},
    path::Path,
    process::ExitCode,
};

use tidegate_waf::{
    Connection, Disk, Interner, Limits, OnLimit, Policy, PolicyOptions, Prefiltering, Ruleset,
    Transaction,
    message::{self, Message},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut options = PolicyOptions {
        response_bodies: true,
        limits: Limits {
            on_arguments: OnLimit::Pass,
            on_malformed: OnLimit::Pass,
            ..Limits::default()
        },
        ..PolicyOptions::default()
    };
    let mut files = Vec::new();
    let mut explain = false;
    let mut notices = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|n| n.parse::<u32>().ok()).ok_or("a number is missing");
        match argument.as_str() {
            "--check" => options.prefiltering = Prefiltering::Check,
            "--no-prefilter" => options.prefiltering = Prefiltering::Off,
            "--paranoia" => options.paranoia = Some(number()? as u8),
            "--threshold" => options.inbound_threshold = Some(number()?),
            "--explain" => explain = true,
            "--notices" => notices = true,
            _ => files.push(argument),
        }
    }
    let roots: Vec<&Path> = files.iter().map(Path::new).collect();
    let rules =
        Ruleset::load(&Disk, &roots, &Interner::default()).map_err(|faults| faults.to_string())?;
    eprintln!("{} rules, {} notices, {:?}", rules.len(), rules.notices().len(), rules.components());
    if notices {
        rules.notices().iter().for_each(|notice| eprintln!("{notice}"));
    }
    let policy = Policy::new(rules, options).map_err(|error| error.to_string())?;

    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut line = String::new();
    let failed = |error: io::Error| error.to_string();
    for count in 0_u64.. {
        line.clear();
        if input.read_line(&mut line).map_err(failed)? == 0 {
            break;
        }
        let mut sizes = line.split_ascii_whitespace().map(str::parse::<usize>);
        let (Some(Ok(request)), Some(Ok(response))) = (sizes.next(), sizes.next()) else {
            return Err(format!("expected two sizes, found `{}`", line.trim()));
        };
        let mut request = vec![0; request];
        let mut response = vec![0; response];
        input.read_exact(&mut request).map_err(failed)?;
        input.read_exact(&mut response).map_err(failed)?;
        let answer = evaluate(&policy, &request, &response, count, explain)?;
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(failed)?;
    }
    Ok(())
}

fn evaluate(
    policy: &Policy,
    request: &[u8],
    response: &[u8],
    count: u64,
    explain: bool,
) -> Result<String, String> {
    let Some(request) = Message::parse(request) else {
        return Ok(r#"{"ids":[],"status":400}"#.to_owned());
    };
    let id = count.to_string();
    let connection = Connection {
        unique_id: id.as_bytes(),
        server_port: 80,
        client_port: 40_000,
        ..Connection::default()
    };
    let mut transaction = Transaction::new(policy, &connection);
    let response = Message::parse(response);
    message::run(&mut transaction, &request, response.as_ref());
    if !transaction.missed().is_empty() {
        return Err(format!("the prefilter missed {:?}", transaction.missed()));
    }
    let status = transaction.verdict().status().unwrap_or(200);
    let ids: Vec<String> = transaction.matches().iter().map(|m| m.id.to_string()).collect();
    if explain {
        for found in transaction.matches() {
            eprintln!(
                "{} {} {}",
                found.id,
                tidegate_waf::Escaped(&found.message),
                found
                    .values
                    .iter()
                    .map(|v| format!(
                        "{}={}",
                        tidegate_waf::Escaped(&v.variable),
                        tidegate_waf::Escaped(&v.value)
                    ))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
    }
    Ok(format!(r#"{{"ids":[{}],"status":{status}}}"#, ids.join(",")))
}
