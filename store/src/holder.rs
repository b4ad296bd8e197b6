//! Who holds a lease: a name that says which process of this machine it is, so that the lease
//! of one that was killed can be taken over at once instead of after its time.

use std::fs;

/// Between the name and the process.
const MARK: char = '#';

/// `name` as a holder of leases, marked as this process. A store of this machine takes a lease
/// over as soon as its holder has ended, by a crash or `kill -9`; elsewhere, or where `/proc` is
/// not to be read, the lease ends by itself as any does.
pub fn holder(name: &str) -> String {
    match Process::this() {
        Some(process) => format!("{name}{MARK}{}", process.text()),
        None => name.to_owned(),
    }
}

/// Whether `holder` was a process of this machine that has ended. Unknown means no.
pub(crate) fn has_ended(holder: &str) -> bool {
    let marked = holder.rsplit_once(MARK).and_then(|(_, text)| Process::parse(text));
    let (Some(process), Some(this)) = (marked, Process::this()) else { return false };
    // Another container may share the state and not our process ids.
    process.namespace == this.namespace && Process::start(process.id) != Some(process.start)
}

/// A process: ids are used again, but not with the same start time.
struct Process {
    id: u32,
    /// In ticks since the machine started.
    start: u64,
    /// The inode of its namespace of process ids.
    namespace: u64,
}

impl Process {
    fn this() -> Option<Self> {
        let id = std::process::id();
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = namespace.to_str()?.trim_matches(|c: char| !c.is_ascii_digit()).parse();
        Some(Self { id, start: Self::start(id)?, namespace: namespace.ok()? })
    }

    /// When the process `id` started; `None` if there is none, or one that only waits for its
    /// parent to notice its end.
    fn start(id: u32) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The command in parentheses may hold anything (proc(5)).
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        // Field 22, counted from 1; the state was field 3.
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(start)
    }

    fn text(&self) -> String {
        format!("{}.{}.{}", self.id, self.start, self.namespace)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let process = Self {
            id: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            namespace: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_to_have_ended() {
        assert!(!has_ended(&holder("edge")), "it is this one");
        for unknown in ["edge", "edge#", "edge#1.2", "edge#1.2.3.4", "edge#x.y.z"] {
            assert!(!has_ended(unknown), "{unknown}");
        }
        let this = Process::this().unwrap();
        let elsewhere = Process { start: 0, namespace: this.namespace + 1, ..this };
        assert!(!has_ended(&format!("edge#{}", elsewhere.text())));
    }

    #[test]
    fn a_process_that_was_killed_has_ended_and_its_id_in_new_hands_too() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let this = Process::this().unwrap();
        let start = Process::start(child.id()).unwrap();
        let of = |start| Process { id: child.id(), start, namespace: this.namespace }.text();
        let (running, before) = (format!("a#{}", of(start)), format!("a#{}", of(start + 1)));
        assert!(!has_ended(&running));
        assert!(has_ended(&before));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&running));
    }
}
