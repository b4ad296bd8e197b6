//! The rules of a phase in their order, and what their matches bring about.

use super::{Transaction, evaluate::Progress};
use crate::{
    compile::{Disposition, Rule},
    policy::{Mode, OnLimit},
    report::{Cause, Limit, Match, Verdict},
    seclang::{Allow, Collection, Sanitise, Switch},
};

const MESSAGE_BYTES: usize = 2_048;
/// The phase in which nothing is stopped any more.
const LOGGING: usize = 4;

impl Transaction<'_> {
    /// Evaluates a phase, 0 to 4, to its end.
    pub(super) fn run(&mut self, phase: usize) -> Verdict {
        self.begin(phase);
        self.finish()
    }

    /// Evaluates the phase that was begun to its end.
    pub(super) fn finish(&mut self) -> Verdict {
        loop {
            if let Some(verdict) = self.advance(u64::MAX) {
                return verdict;
            }
        }
    }

    /// Begins a phase; without something to do [`advance`](Self::advance) is done at once.
    pub(super) fn begin(&mut self, phase: usize) {
        self.next = None;
        if !self.is_on() {
            return;
        }
        self.filters.renew();
        // Logging always takes place; a phase behind a verdict does not.
        if phase != LOGGING {
            if let Some(limit) = self.over.take() {
                self.refuse(limit);
            }
            let allowed =
                self.allowed.is_some_and(|a| a == Allow::All || (a == Allow::Request && phase < 2));
            if !self.verdict.is_pass() || allowed {
                return;
            }
        }
        self.next = Some((phase, 0));
    }

    /// Evaluates rules of the phase that was begun until about this much work is done: `None`
    /// if there is more to do.
    ///
    /// Work is counted in bytes looked at; a megabyte takes some milliseconds. A worker that
    /// serves other connections lets them run between the pieces of a large body.
    pub fn advance(&mut self, work: u64) -> Option<Verdict> {
        let stop = self.work().saturating_add(work);
        while let Some((phase, at)) = self.next {
            let policy = self.policy;
            let Some(planned) = policy.phases[phase].get(at) else {
                self.next = None;
                break;
            };
            let index = planned.rule as usize;
            let skipped = self.removed[index / 64] & (1 << (index % 64)) != 0;
            self.next = Some((phase, at + 1));
            if !skipped {
                self.evaluate(&policy.rules.rules[index], index, phase, planned.jump as usize);
            }
            if self.work() > policy.options.limits.work && phase != LOGGING {
                self.beyond(Limit::Work);
                self.next = None;
            }
            if phase != LOGGING
                && let Some(limit) = self.over.take()
            {
                self.refuse(limit);
                self.next.take_if(|_| !self.verdict.is_pass());
            }
            if self.work() >= stop && self.next.is_some() {
                return None;
            }
        }
        Some(self.verdict.clone())
    }

    /// One rule, and what its match brings about.
    fn evaluate(&mut self, rule: &Rule, index: usize, phase: usize, jump: usize) {
        let mut progress = Progress::default();
        if !self.rule(rule, index, &mut progress) {
            return;
        }
        for link in rule.links.iter().rev() {
            self.apply(&link.effects);
        }
        if let Some(severity) = rule.severity
            && self.highest_severity.is_none_or(|highest| severity < highest)
        {
            self.highest_severity = Some(severity);
            self.set(Collection::HighestSeverity, severity.to_string().as_bytes());
        }
        self.sanitise.extend(rule.sanitise.iter().cloned());
        if rule.log {
            self.report(rule, progress);
        }
        self.next = self.is_on().then_some((phase, jump));
        if let Some(verdict) = self.disrupt(rule, phase)
            && phase != LOGGING
        {
            self.verdict = verdict;
            self.next = None;
        }
        if self.allowed.is_some() && phase != LOGGING {
            self.next = None;
            self.allowed.take_if(|allow| *allow == Allow::Phase);
        }
    }

    /// What a match does to the request, if the mode lets it.
    fn disrupt(&mut self, rule: &Rule, phase: usize) -> Option<Verdict> {
        let cause = Cause::Rule(rule.id);
        let status = rule.status.unwrap_or(403);
        let verdict = match &rule.disposition {
            Disposition::Pass => return None,
            Disposition::Deny => Verdict::Deny { status, cause },
            Disposition::Drop => Verdict::Drop { cause },
            Disposition::Redirect(to) => {
                let location = self.expand(to, rule);
                let status =
                    rule.status.filter(|status| (300..400).contains(status)).unwrap_or(302);
                Verdict::Redirect { status, location, cause }
            }
            Disposition::Allow(allow) => {
                if self.blocks() {
                    self.allowed = Some(*allow);
                } else if self.would.is_pass() {
                    // The rules go on, to be told of; that they would have stopped it is not true.
                    self.would_allow = Some((*allow, phase));
                }
                return None;
            }
        };
        if self.blocks() {
            return Some(verdict);
        }
        if phase != LOGGING {
            self.would_be_stopped(verdict, phase);
        }
        None
    }

    /// In detect mode: what block mode would have come to, unless a rule would have allowed the
    /// request before.
    fn would_be_stopped(&mut self, verdict: Verdict, phase: usize) {
        let allowed = self.would_allow.is_some_and(|(allow, since)| match allow {
            Allow::All => true,
            Allow::Request => phase == since || phase < 2,
            Allow::Phase => phase == since,
        });
        if self.would.is_pass() && !allowed {
            self.would = verdict;
        }
    }

    /// Whether verdicts are carried out.
    pub(super) fn blocks(&self) -> bool {
        self.policy.options.mode == Mode::Block && self.engine == Switch::On
    }

    pub(super) fn is_on(&self) -> bool {
        self.engine != Switch::Off
    }

    /// Whether the work is used up in the middle of a rule. Logging always comes to its end.
    pub(super) fn is_spent(&self) -> bool {
        self.work() > self.policy.options.limits.work
            && self.next.is_some_and(|(phase, _)| phase != LOGGING)
    }

    /// A budget of which the host knows that it is used up, a body's by its length say; answers
    /// what is to become of the request.
    pub fn exceed(&mut self, limit: Limit) -> Verdict {
        self.beyond(limit);
        if let Some(limit) = self.over.take() {
            self.refuse(limit);
        }
        self.verdict.clone()
    }

    /// A budget of which the host knows that it is used up, and that it stops nothing.
    pub fn exceed_and_pass(&mut self, limit: Limit) {
        if !self.limits_hit.contains(&limit) {
            self.limits_hit.push(limit);
        }
    }

    /// Notes that a budget is used up; the rule that is evaluated is the last one, or the next
    /// phase answers it.
    pub(super) fn beyond(&mut self, limit: Limit) {
        self.exceed_and_pass(limit);
        if self.policy.options.limits.on(limit) == OnLimit::Block && self.over.is_none() {
            self.over = Some(limit);
        }
    }

    fn refuse(&mut self, limit: Limit) {
        let status = match limit {
            Limit::Body | Limit::BodyWithFiles => 413,
            Limit::ResponseBody => 502,
            Limit::Arguments | Limit::Depth | Limit::Parts | Limit::Malformed => 400,
            Limit::Work | Limit::Held => 503,
        };
        let verdict = Verdict::Deny { status, cause: Cause::Limit(limit) };
        if self.blocks() {
            self.verdict = verdict;
        } else if self.would.is_pass() {
            self.would = verdict;
        }
    }

    /// A pattern of the backtracking engine reached its limit. Whether it would have matched
    /// nobody knows: not to refuse would be what an attacker fills values up for.
    pub(super) fn gave_up(&mut self) {
        self.beyond(Limit::Work);
        let value = self.texts.push(b"1");
        self.store.set_variable(
            &mut self.texts,
            Collection::Tx,
            b"MSC_PCRE_LIMITS_EXCEEDED",
            Some(value),
        );
    }

    fn report(&mut self, rule: &Rule, progress: Progress) {
        let expand = |this: &mut Self, text: &Option<crate::compile::Macro>| {
            let mut bytes = text.as_ref().map(|text| this.expand(text, rule)).unwrap_or_default();
            bytes.truncate(MESSAGE_BYTES);
            // It is kept, and what it was cut from may have been long.
            bytes.shrink_to_fit();
            bytes
        };
        let message = expand(self, &rule.message);
        let mut data = expand(self, &rule.log_data);
        if rule.sanitise.contains(&Sanitise::Matched) || progress.masked {
            data.fill(b'*');
        }
        let tags = rule.tags.iter().map(|tag| self.expand(tag, rule)).collect();
        self.matches.push(Match {
            id: rule.id,
            phase: rule.phase as u8 + 1,
            message,
            data,
            severity: rule.severity,
            tags,
            version: rule.version.clone().unwrap_or_default(),
            score: progress.score,
            audit: rule.audit,
            values: progress.values,
            more: progress.more,
            at: rule.at.clone(),
        });
    }
}
