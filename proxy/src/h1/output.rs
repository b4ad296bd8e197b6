//! Bytes on their way to the client.
//!
//! Small pieces are copied together, so that a head and its first data leave in one
//! write; large ones are queued as they are and leave in a vectored write. Whoever
//! fills the queue stops at [`HIGH_WATER`].

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Fill no further once this much is waiting.
pub(super) const HIGH_WATER: usize = 64 * 1024;
/// From here on a piece is worth a place of its own in the write.
const LARGE: usize = 8 * 1024;
/// Slices of one vectored write.
const SLICES: usize = 16;

/// The queue. Order: `pieces`, then `tail`.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Bytes>,
    /// Bytes in `pieces`.
    queued: usize,
    /// What is still being copied together.
    tail: BytesMut,
    vectored: bool,
    /// Written since the last flush.
    dirty: bool,
    /// Written since [`Output::take_progress`].
    progress: bool,
}

impl Output {
    /// For a socket that can (or cannot) write several slices at once.
    pub(super) fn new(vectored: bool) -> Self {
        Self { vectored, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    /// Where small pieces are written.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < LARGE || !self.vectored {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.queued += self.tail.len();
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.queued += data.len();
        self.pieces.push_back(data);
    }

    /// Whether anything was written since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Writes until nothing is left, then flushes.
    pub(super) fn poll_drain<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = ready!(self.poll_write(io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
            self.dirty = true;
            self.progress = true;
        }
        if self.dirty {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.pieces.is_empty() {
            return Pin::new(io).poll_write(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let waiting = self
            .pieces
            .iter()
            .map(|piece| &piece[..])
            .chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(waiting) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let taken = written.min(piece.len());
            piece.advance(taken);
            self.queued -= taken;
            written -= taken;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn keeps_order_across_partial_writes() {
        for vectored in [false, true] {
            let (mut near, mut far) = tokio::io::duplex(1000);
            let mut output = Output::new(vectored);
            let mut expected = Vec::new();
            for n in 0..40_u8 {
                let piece = vec![n; if n % 3 == 0 { 9000 } else { usize::from(n) }];
                expected.extend_from_slice(&piece);
                output.push(Bytes::from(piece));
            }
            assert_eq!(output.len(), expected.len());
            let reader = tokio::spawn(async move {
                let mut seen = Vec::new();
                far.read_to_end(&mut seen).await.unwrap();
                seen
            });
            poll_fn(|cx| output.poll_drain(&mut near, cx)).await.unwrap();
            assert!(output.take_progress() && !output.take_progress());
            assert_eq!(output.len(), 0);
            drop(near);
            assert_eq!(reader.await.unwrap(), expected);
        }
    }
}
