//! Distinguished names as text (RFC 4514), in printable ASCII: what a name holds cannot be taken
//! for another name, nor end a line.

use std::fmt::Write;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The last part first, as section 2.1 wants it.
pub(crate) fn to_string(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        text += if text.is_empty() { "" } else { "," };
        for (index, attribute) in part.iter().enumerate() {
            text += if index > 0 { "+" } else { "" };
            write_attribute(attribute, &mut text);
        }
    }
    text
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    // The table of section 3.
    let short = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => "",
    };
    match attribute.as_str() {
        Ok(value) if !short.is_empty() => {
            *text += short;
            text.push('=');
            write_value(value, text);
        }
        // Section 2.4: another type's value is its BER encoding.
        _ => {
            let value = attribute.attr_value();
            let _ = write!(text, "{oid}=#"); // a String takes everything
            if let Ok(bytes) = x509_parser::asn1_rs::ToDer::to_der_vec(value) {
                *text += &hex::encode(bytes);
            }
        }
    }
}

fn write_value(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(byte.into());
            }
            b' ' if index != 0 && index != last => text.push(' '),
            b'#' if index != 0 => text.push('#'),
            b'#' => *text += "\\#",
            _ if byte.is_ascii_graphic() => text.push(byte.into()),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}
