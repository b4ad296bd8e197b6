//! How much memory the bodies take that policies hold, in the whole process.

use crate::{reason::Reason, respond::Refusal};
use bytes::{Bytes, BytesMut};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What is taken at once: few enough bodies are smaller that counting exactly would not pay.
const STEP: usize = 16 << 10;

/// Bytes held now.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    pub(crate) fn used(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// A body while it is read. What it takes is given back when the last copy of what was
/// [frozen](Self::freeze) is gone, or with itself.
pub(crate) struct HeldBody {
    bytes: BytesMut,
    share: Share,
}

struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

impl HeldBody {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        let share = Share { budget: Arc::clone(budget), taken: 0 };
        Self { bytes: BytesMut::new(), share }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes more, as long as all bodies together have `most` bytes.
    pub(crate) fn push(&mut self, data: &[u8], most: usize) -> Result<(), Refusal> {
        let needed = (self.bytes.len() + data.len()).next_multiple_of(STEP);
        self.share.grow(needed, most)?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    pub(crate) fn freeze(self) -> Bytes {
        if self.bytes.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(Frozen { bytes: self.bytes.freeze(), _share: self.share })
    }
}

impl Share {
    fn grow(&mut self, to: usize, most: usize) -> Result<(), Refusal> {
        let more = to.saturating_sub(self.taken);
        if more == 0 {
            return Ok(());
        }
        let used = self.budget.0.fetch_add(more, Relaxed) + more;
        self.taken += more;
        match used <= most {
            true => Ok(()),
            // What was taken too much goes with the request.
            false => Err(Refusal::new(
                Reason::Overloaded,
                "bodies held for WAF policies take all of `server.held_bodies`",
            )),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.taken, Relaxed);
    }
}

struct Frozen {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_gives_back_what_it_took_with_its_last_copy() {
        let budget = Arc::<Budget>::default();
        let mut body = HeldBody::new(&budget);
        assert!(body.push(&[1; 10], 1 << 20).is_ok() && body.push(&[2; STEP], 1 << 20).is_ok());
        assert_eq!(budget.used(), 2 * STEP);
        let frozen = body.freeze();
        let part = frozen.slice(5..);
        drop(frozen);
        assert_eq!((budget.used(), part.len()), (2 * STEP, STEP + 5));
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn nobody_takes_more_than_there_is() {
        let budget = Arc::<Budget>::default();
        let (mut one, mut two) = (HeldBody::new(&budget), HeldBody::new(&budget));
        assert!(one.push(&[0; STEP], 2 * STEP).is_ok() && two.push(&[0], 2 * STEP).is_ok());
        assert!(one.push(&[0], 2 * STEP).is_err());
        drop((one, two));
        assert_eq!(budget.used(), 0);
    }
}
