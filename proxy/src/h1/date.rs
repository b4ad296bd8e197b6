//! The Date of responses, formatted once a second per thread.

use std::{
    cell::RefCell,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut, BytesMut};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const LENGTH: usize = 29;

struct Cached {
    second: u64,
    text: [u8; LENGTH],
}

thread_local! {
    static CACHED: RefCell<Cached> =
        const { RefCell::new(Cached { second: u64::MAX, text: [b' '; LENGTH] }) };
}

/// Appends the current date (RFC 9110 section 5.6.7).
pub(super) fn put(out: &mut BytesMut) {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    CACHED.with_borrow_mut(|cached| {
        if cached.second != second {
            let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
            // Fails only past the year 9999, and then keeps the text before.
            let _ = write!(cached.text.as_mut_slice(), "{date}");
            cached.second = second;
        }
        out.put_slice(&cached.text);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_now() {
        let mut out = BytesMut::new();
        put(&mut out);
        let date = httpdate::parse_http_date(std::str::from_utf8(&out).unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(date).unwrap() < Duration::from_secs(3));
    }
}
