//! `removeComments`, `removeCommentsChar` and `replaceComments`, for the comments
//! of SQL, C, HTML and shells.

use memchr::{memchr3, memmem};

/// The two ends of a comment that this opens.
const OPENERS: [&[u8]; 2] = [b"/*", b"<!--"];

/// Removes comments with their text; `--` and `#` end the value, and a comment
/// that nothing closes leaves a blank. As in libmodsecurity `*/` and `-->` close
/// either kind, and the byte after them is copied without being looked at.
///
/// Unlike libmodsecurity a comment at the very end does not leave a NUL behind
/// (there the byte after it is copied even if there is none).
pub(super) fn remove(input: &[u8]) -> Option<Vec<u8>> {
    memchr3(b'/', b'<', b'-', input).or_else(|| memchr::memchr(b'#', input))?;
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    let mut in_comment = false;
    while let [byte, tail @ ..] = rest {
        if in_comment {
            match closer(rest) {
                0 => rest = tail,
                length => {
                    in_comment = false;
                    rest = &rest[length..];
                    if let [next, tail @ ..] = rest {
                        output.push(*next);
                        rest = tail;
                    }
                }
            }
        } else if let Some(opener) = OPENERS.iter().find(|opener| rest.starts_with(opener)) {
            in_comment = true;
            rest = &rest[opener.len()..];
        } else if *byte == b'#' || rest.starts_with(b"--") {
            break;
        } else {
            output.push(*byte);
            rest = tail;
        }
    }
    if in_comment {
        output.push(b' ');
    }
    Some(output)
}

/// The length of the end of a comment that `rest` starts with, or 0.
fn closer(rest: &[u8]) -> usize {
    match rest {
        [b'*', b'/', ..] => 2,
        [b'-', b'-', b'>', ..] => 3,
        _ => 0,
    }
}

/// Removes only the marks of comments: `/*`, `*/`, `<!--`, `-->`, `--` and `#`.
pub(super) fn remove_marks(input: &[u8]) -> Option<Vec<u8>> {
    let first = (0..input.len()).find(|index| mark(&input[*index..]) > 0)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        match mark(rest) {
            0 => {
                output.push(*byte);
                rest = tail;
            }
            length => rest = &rest[length..],
        }
    }
    Some(output)
}

/// The length of the mark that `rest` starts with, or 0.
fn mark(rest: &[u8]) -> usize {
    match rest {
        [b'#', ..] => 1,
        [b'<', b'!', b'-', b'-', ..] => 4,
        [b'-', b'-', b'>', ..] => 3,
        [b'/', b'*', ..] | [b'*', b'/', ..] | [b'-', b'-', ..] => 2,
        _ => 0,
    }
}

/// Puts one blank in the place of each C comment, also of one that nothing closes.
pub(super) fn replace(input: &[u8]) -> Option<Vec<u8>> {
    let mut opener = memmem::find(input, b"/*")?;
    let mut output = Vec::with_capacity(input.len());
    let mut rest = input;
    loop {
        output.extend_from_slice(&rest[..opener]);
        output.push(b' ');
        rest = &rest[opener + 2..];
        let Some(end) = memmem::find(rest, b"*/") else { break };
        rest = &rest[end + 2..];
        match memmem::find(rest, b"/*") {
            Some(next) => opener = next,
            None => {
                output.extend_from_slice(rest);
                break;
            }
        }
    }
    Some(output)
}
