//! Proving control of a name: which challenge is answered, and the authority's verdict.

use super::{
    failure::{Failure, Scope},
    order::{Desk, Order},
    solve::word,
};
use crate::{challenges::ChallengeKind, event::EventKind, stored::StoredPending};
use instant_acme::{
    AuthorizationState, AuthorizationStatus, Challenge, ChallengeStatus, ChallengeType, OrderStatus,
};
use serde_json::json;

/// One name takes one; a few more are borne.
const MAX_AUTHORIZATIONS: usize = 8;
/// In characters.
const MAX_TOKEN: usize = 128;

impl Desk<'_> {
    /// Answers the order's challenges; `opened` are those that are open now, whatever comes
    /// of it.
    pub(super) async fn prove(
        &self,
        order: &Order,
        pending: &StoredPending,
        opened: &mut Vec<(ChallengeKind, String)>,
        proving: &mut Option<ChallengeKind>,
    ) -> Result<(), Failure> {
        let count = order.body.authorizations.len();
        if count > MAX_AUTHORIZATIONS {
            self.forget().await;
            let text = format!("the authority wants {count} authorizations for one name");
            return Err(Failure::new(Scope::Authority, text));
        }
        for url in &order.body.authorizations {
            let authorization: AuthorizationState = self.read(url).await?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => {
                    self.forget().await;
                    let text =
                        format!("the authority gave a {other:?} authorization: it is tried again");
                    return Err(Failure::new(Scope::Authority, text));
                }
            }
            let Some((kind, challenge)) = self.choose(&authorization, pending) else {
                let words: Vec<&str> = self.untried(pending).map(word).collect();
                let text = format!("the authority does not offer {}", words.join(" or "));
                return Err(Failure::new(Scope::Challenge, text));
            };
            if !is_token(&challenge.token) {
                let text = "the authority gave a token that is none (RFC 8555 section 8)";
                return Err(Failure::new(Scope::Authority, text));
            }
            *proving = Some(kind);
            opened.push((kind, challenge.token.clone()));
            self.open(kind, &challenge.token).await?;
            // One that is being looked at since before a crash must not be asked for again.
            if challenge.status == ChallengeStatus::Pending {
                let asked = self.account.post(&challenge.url, Some(&json!({}))).await;
                asked.map_err(|error| Failure::of(&error, Some(kind)))?;
                self.tell(EventKind::Proving, &format!("asked to look at {}", word(kind)));
            }
        }
        Ok(())
    }

    /// The challenge that is under way, else the first that was not tried.
    fn choose<'c>(
        &self,
        authorization: &'c AuthorizationState,
        pending: &StoredPending,
    ) -> Option<(ChallengeKind, &'c Challenge)> {
        let offered = |kind| {
            let challenges = authorization.challenges.iter();
            challenges.clone().find(|challenge| challenge.r#type == acme_type(kind))
        };
        let mut choices = self.untried(pending).filter_map(|kind| Some((kind, offered(kind)?)));
        let begun =
            choices.clone().find(|(_, challenge)| challenge.status != ChallengeStatus::Pending);
        begun.or_else(|| choices.next())
    }

    pub(super) fn untried<'p>(
        &'p self,
        pending: &'p StoredPending,
    ) -> impl Iterator<Item = ChallengeKind> + Clone + 'p {
        self.kinds.iter().copied().filter(|kind| !pending.tried.contains(kind))
    }

    /// Waits for the authority's verdict.
    pub(super) async fn validated(
        &self,
        order: &mut Order,
        proving: Option<ChallengeKind>,
    ) -> Result<(), Failure> {
        let limit = self.schedule.validation;
        let challenge = proving.map_or("the name", word);
        match self.poll(order, limit, |status| status != OrderStatus::Pending).await? {
            true if order.body.status == OrderStatus::Invalid => {
                Err(self.verdict(order, proving).await)
            }
            true => {
                self.tell(EventKind::Proved, &format!("{challenge} is satisfied"));
                Ok(())
            }
            false => {
                let seconds = limit.as_secs();
                let text = format!("the authority did not validate {challenge} within {seconds} s");
                Err(Failure::new(Scope::Challenge, text))
            }
        }
    }

    /// Why an order became invalid: what the challenge says, else the order.
    async fn verdict(&self, order: &Order, proving: Option<ChallengeKind>) -> Failure {
        let mut problem = None;
        for url in &order.body.authorizations {
            let Ok(authorization) = self.read::<AuthorizationState>(url).await else { break };
            let mut challenges = authorization.challenges.into_iter();
            problem = problem.or_else(|| challenges.find_map(|challenge| challenge.error));
        }
        let challenge = proving.map_or("the name", word);
        match problem.as_ref().or(order.body.error.as_ref()) {
            Some(problem) => {
                let failure = Failure::of_problem(problem, proving);
                Failure { text: format!("{challenge}: {}", failure.text), ..failure }
            }
            None => {
                let text = format!("the authority refused {challenge} without a reason");
                Failure::new(Scope::Challenge, text)
            }
        }
    }
}

/// Base64url of 128 bits and more (RFC 8555 section 8): it becomes a part of keys and URLs.
fn is_token(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(is_safe)
}

fn acme_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Dns01 => ChallengeType::Dns01,
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_base64url_and_bounded() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for bad in ["", "a/b", "a b", "a\n", "ä", &"a".repeat(129)] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
