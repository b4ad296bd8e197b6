//! What a process and its children cost, from /proc.

use std::fs;

/// `root` and everything it started.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat(pid).and_then(|fields| fields[1].parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut all = vec![root];
    let mut at = 0;
    while at < all.len() {
        let parent = all[at];
        all.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

/// The fields of /proc/PID/stat after the name, which may hold spaces: state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// User and system time of all its threads and children so far, in seconds.
pub fn cpu_seconds(root: u32) -> f64 {
    let ticks: u64 = tree(root)
        .into_iter()
        .filter_map(stat)
        // utime and stime are fields 14 and 15 of the line, counted from 1.
        .map(|fields| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory of all of it that is not shared with files, in bytes.
pub fn resident(root: u32) -> u64 {
    let anonymous = |pid: u32| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    tree(root).into_iter().map(anonymous).sum()
}
