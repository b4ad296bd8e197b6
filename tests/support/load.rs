//! A constant load on connections that are kept: what every promise of "nothing drops" is
//! measured with. Bounded in requests and in time, whatever the story does.

use super::client::{Client, Failure, Reply, Speaks, request};
use rustls::ClientConfig;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// What a load does.
#[derive(Clone)]
pub struct Plan {
    /// Connections that speak HTTP/1.1, one request at a time each.
    pub http1: usize,
    /// Connections that speak HTTP/2, one request at a time each.
    pub http2: usize,
    /// Where to.
    pub target: SocketAddr,
    /// TLS for both, by ALPN.
    pub tls: Option<[Arc<ClientConfig>; 2]>,
    /// How is asked.
    pub method: &'static str,
    /// The path asked for.
    pub path: String,
    /// The host asked for.
    pub host: String,
    /// Between a response and the next request of the same connection.
    pub pause: Duration,
    /// Requests at most.
    pub most: u64,
    /// The load's end, if nobody stops it before.
    pub longest: Duration,
}

impl Plan {
    /// Plain text, half the connections each.
    pub fn plain(target: SocketAddr, connections: usize) -> Self {
        Self {
            http1: connections.div_ceil(2),
            http2: connections / 2,
            target,
            tls: None,
            method: "GET",
            path: "/load".to_owned(),
            host: "app.test".to_owned(),
            pause: Duration::from_millis(2),
            most: 200_000,
            longest: Duration::from_secs(120),
        }
    }

    /// Over TLS with these roots.
    #[must_use]
    pub fn tls(mut self, ca: &super::Ca) -> Self {
        self.tls = Some([ca.client(&["http/1.1"]), ca.client(&["h2"])]);
        self
    }
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When it was sent.
    pub sent: Instant,
    /// When its answer was complete.
    pub answered: Instant,
    /// Its status.
    pub status: u16,
    /// Which version answered.
    pub version: String,
    /// The reason word of a refusal.
    pub reason: Option<String>,
}

/// What a load saw.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Every answer.
    pub answers: Vec<Answer>,
    /// Requests cut, by what happened; and connections that could not be opened.
    pub failed: BTreeMap<String, u64>,
    /// HTTP/1.1 connections that ended between two requests without having said so.
    pub closed_silently: u64,
    /// Connections ended by `Connection: close` in a response, or GOAWAY between requests.
    pub closed_gracefully: u64,
    /// Requests sent again because GOAWAY said they had not been processed.
    pub refused: u64,
}

impl Report {
    /// Requests answered.
    pub fn answered(&self) -> usize {
        self.answers.len()
    }

    /// Answers by status.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut by_status = BTreeMap::new();
        for answer in &self.answers {
            *by_status.entry(answer.status).or_default() += 1;
        }
        by_status
    }

    /// Answers by reason word; "" is none.
    pub fn reasons(&self) -> BTreeMap<String, usize> {
        let mut by_reason = BTreeMap::new();
        for answer in &self.answers {
            *by_reason.entry(answer.reason.clone().unwrap_or_default()).or_default() += 1;
        }
        by_reason
    }

    /// Answers by version, of requests sent from `start` on and answered until `end`.
    pub fn versions(&self, start: Instant, end: Instant) -> BTreeMap<String, usize> {
        let mut by_version = BTreeMap::new();
        for answer in self.answers.iter().filter(|a| a.sent >= start && a.answered <= end) {
            *by_version.entry(answer.version.clone()).or_default() += 1;
        }
        by_version
    }

    /// Checks that every request was answered by 200.
    ///
    /// # Panics
    /// When one was not; says what happened.
    pub fn assert_nothing_failed(&self) {
        assert!(self.failed.is_empty(), "failed requests: {:?}", self.failed);
        let refused = self.answers.iter().find(|answer| answer.status != 200);
        assert!(refused.is_none(), "statuses {:?}, such as {refused:?}", self.statuses());
        assert!(self.answered() > 0, "the load sent nothing");
    }

    /// Checks that no connection ended.
    ///
    /// # Panics
    /// When one did.
    pub fn assert_no_connection_closed(&self) {
        let closed = (self.closed_silently, self.closed_gracefully, self.refused);
        assert_eq!(closed, (0, 0, 0), "connections ended (silently, gracefully, refused)");
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        format!(
            "{} answered {:?}, {} failed, connections closed: {} gracefully, {} silently, {} refused",
            self.answered(),
            self.statuses(),
            self.failed.values().sum::<u64>(),
            self.closed_gracefully,
            self.closed_silently,
            self.refused,
        )
    }
}

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    plan: Plan,
    end: Instant,
    stop: AtomicBool,
    left: AtomicU64,
    report: Mutex<Report>,
}

impl Load {
    /// Starts it, and returns when every connection has had its first answer.
    pub async fn start(plan: Plan) -> Self {
        let (http1, http2) = (plan.http1, plan.http2);
        let shared = Arc::new(Shared {
            end: Instant::now() + plan.longest,
            stop: AtomicBool::new(false),
            left: AtomicU64::new(plan.most),
            report: Mutex::default(),
            plan,
        });
        let mut workers = JoinSet::new();
        let connections = std::iter::repeat_n(Speaks::Http1, http1)
            .chain(std::iter::repeat_n(Speaks::Http2, http2));
        for speaks in connections {
            workers.spawn(Arc::clone(&shared).worker(speaks));
        }
        let load = Self { shared, workers };
        load.await_answers(http1 + http2).await;
        load
    }

    /// Waits until so many further requests have been answered.
    pub async fn await_answers(&self, more: usize) {
        let target = self.answered() + more;
        super::eventually(&format!("{more} more answers to the load"), || async {
            (self.answered() >= target).then_some(())
        })
        .await;
    }

    /// Requests answered so far.
    pub fn answered(&self) -> usize {
        self.shared.report.lock().unwrap().answers.len()
    }

    /// What it saw so far.
    pub fn so_far(&self) -> Report {
        self.shared.report.lock().unwrap().clone()
    }

    /// Lets every request under way finish, and reports.
    pub async fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::SeqCst);
        super::within("the load to end", async {
            while let Some(worker) = self.workers.join_next().await {
                worker.expect("a load worker does not panic");
            }
        })
        .await;
        self.so_far()
    }
}

impl Shared {
    async fn worker(self: Arc<Self>, speaks: Speaks) {
        let mut client = Client::new(self.plan.target, speaks).host(&self.plan.host);
        if let Some([http1, http2]) = &self.plan.tls {
            let config = if speaks == Speaks::Http1 { http1 } else { http2 };
            client = client.tls(Arc::clone(config));
        }
        let mut ends_after_this = true;
        while self.take() {
            if !client.connected() && !ends_after_this {
                self.ended(speaks);
            }
            ends_after_this = self.one(&mut client).await;
            sleep(self.plan.pause).await;
        }
    }

    /// Sends one request until it is answered or has failed; `true` if the connection is known
    /// to end.
    async fn one(&self, client: &mut Client) -> bool {
        let mut tries = 0;
        loop {
            let sent = Instant::now();
            let asked = client.try_send(request(self.plan.method, &self.plan.path, ""));
            match timeout(Duration::from_secs(15), asked).await {
                Ok(Ok(reply)) => return self.answered(sent, &reply, client),
                Ok(Err(Failure::NotSent(_))) if tries < 3 => self.ended(client.speaks()),
                Ok(Err(Failure::Refused(_))) if tries < 3 => {
                    self.note(|report| report.refused += 1);
                }
                Ok(Err(failure)) => {
                    self.failed(format!("{failure:?}"));
                    client.disconnect();
                    return true;
                }
                Err(_) => {
                    self.failed("no answer within 15 s".to_owned());
                    client.disconnect();
                    return true;
                }
            }
            tries += 1;
            client.disconnect();
        }
    }

    fn answered(&self, sent: Instant, reply: &Reply, client: &mut Client) -> bool {
        let closes = reply.header("connection").is_some_and(|value| value == "close");
        if closes {
            client.disconnect();
        }
        self.note(|report| {
            report.closed_gracefully += u64::from(closes);
            report.answers.push(Answer {
                sent,
                answered: Instant::now(),
                status: reply.status.as_u16(),
                version: reply.version().to_owned(),
                reason: reply.reason().map(str::to_owned),
            });
        });
        closes
    }

    /// The connection ended between two requests. Over h1 the last response had not announced
    /// it; over h2 that is what a GOAWAY looks like from here.
    fn ended(&self, speaks: Speaks) {
        self.note(|report| match speaks {
            Speaks::Http1 => report.closed_silently += 1,
            Speaks::Http2 => report.closed_gracefully += 1,
        });
    }

    fn failed(&self, how: String) {
        self.note(|report| *report.failed.entry(how).or_default() += 1);
    }

    fn note(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.lock().unwrap());
    }

    /// Whether another request may be sent.
    fn take(&self) -> bool {
        let may = !self.stop.load(Ordering::SeqCst) && Instant::now() < self.end;
        let one_less = |left: u64| left.checked_sub(1);
        may && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}
