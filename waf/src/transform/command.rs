//! `cmdLine`: what is left of a command once a shell's way of hiding it is undone.

/// Drops quotes, backslashes and carets, turns runs of separators into one blank,
/// drops a blank before `/` and `(`, and lowers letters.
pub(super) fn cmd_line(input: &[u8]) -> Option<Vec<u8>> {
    let first = first_change(input)?;
    let mut output = Vec::with_capacity(input.len());
    output.extend_from_slice(&input[..first]);
    let mut blank = output.last() == Some(&b' ');
    for byte in &input[first..] {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !blank {
                    output.push(b' ');
                    blank = true;
                }
            }
            b'/' | b'(' => {
                if blank {
                    output.pop();
                    blank = false;
                }
                output.push(*byte);
            }
            other => {
                output.push(other.to_ascii_lowercase());
                blank = false;
            }
        }
    }
    Some(output)
}

/// Where the first byte stands that is not copied as it is.
fn first_change(input: &[u8]) -> Option<usize> {
    let mut blank = false;
    input.iter().position(|byte| {
        let was_blank = std::mem::replace(&mut blank, *byte == b' ');
        match byte {
            b'"' | b'\'' | b'\\' | b'^' | b',' | b';' | b'\t' | b'\r' | b'\n' => true,
            b' ' | b'/' | b'(' => was_blank,
            other => other.is_ascii_uppercase(),
        }
    })
}
