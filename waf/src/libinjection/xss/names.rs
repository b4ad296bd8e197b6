//! Names of tags and attributes which can run a script.
//!
//! The lists are data of libinjection 3.9.2, Copyright (c) 2012-2016 Nick Galbreath, BSD-3-Clause:
//! see ../NOTICE.

/// Whatever is in it, it may run a script, or change what another tag does.
pub(super) fn is_dangerous_tag(name: &[u8]) -> bool {
    // Whole families: SVG and XSLT.
    if let [a, b, c, ..] = name
        && matches!([a, b, c].map(u8::to_ascii_uppercase), [b'S', b'V', b'G'] | [b'X', b'S', b'L'])
    {
        return true;
    }
    if name.len() < 3 {
        return false;
    }
    let mut buffer = [0; LONGEST];
    matches!(
        in_table_form(name, &mut buffer),
        b"APPLET"
            | b"BASE"
            | b"COMMENT"
            | b"EMBED"
            | b"FRAME"
            | b"FRAMESET"
            | b"HANDLER"
            | b"IFRAME"
            | b"IMPORT"
            | b"ISINDEX"
            | b"LINK"
            | b"LISTENER"
            | b"META"
            | b"NOSCRIPT"
            | b"OBJECT"
            | b"SCRIPT"
            | b"STYLE"
            | b"VMLFRAME"
            | b"XML"
            | b"XSS"
    )
}

/// What an attribute's value can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Harmless,
    /// Any value may run a script.
    Dangerous,
    /// The value is a URL, which may run one.
    Url,
    /// SVG: the value is the name of the attribute that gets the real value.
    NameOfOther,
}

impl Attribute {
    pub(super) fn named(name: &[u8]) -> Self {
        if name.len() < 2 {
            return Self::Harmless;
        }
        // Event handlers, and what can make a tag of any name an SVG one.
        if name.len() >= 5
            && (name[..2].eq_ignore_ascii_case(b"ON")
                || name[..5].eq_ignore_ascii_case(b"XMLNS")
                || name[..5].eq_ignore_ascii_case(b"XLINK"))
        {
            return Self::Dangerous;
        }
        let mut buffer = [0; LONGEST];
        match in_table_form(name, &mut buffer) {
            b"ACTION" | b"BY" | b"BACKGROUND" | b"DYNSRC" | b"FORMACTION" | b"FOLDER" | b"FROM"
            | b"HANDLER" | b"HREF" | b"LOWSRC" | b"POSTER" | b"SRC" | b"TO" | b"VALUES"
            // Unless a NUL hides its beginning, this is dangerous already.
            | b"XLINK:HREF" => Self::Url,
            // The last two hold CSS.
            b"DATAFORMATAS" | b"DATASRC" | b"FILTER" | b"STYLE" => Self::Dangerous,
            b"ATTRIBUTENAME" => Self::NameOfOther,
            _ => Self::Harmless,
        }
    }
}

const LONGEST: usize = b"ATTRIBUTENAME".len();

/// `name` in upper case, without the NULs that old browsers ignore; empty if it is longer than any
/// name of the tables.
fn in_table_form<'b>(name: &[u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let mut len = 0;
    for byte in name.iter().filter(|&&byte| byte != 0) {
        let Some(place) = buffer.get_mut(len) else { return b"" };
        *place = byte.to_ascii_uppercase();
        len += 1;
    }
    &buffer[..len]
}
