//! Tables that line up.

use std::fmt;

/// Rows of text below a head. Numbers go to the right.
#[derive(Clone, Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the head.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.head.len(), "as many cells as the head");
        self.rows.push(cells.map(|cell| printable(&cell)).to_vec());
    }
}

/// Nothing that comes over the network steers the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A cell that may be empty.
pub(super) fn maybe(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.head.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(self.head[column].len())
        };
        let right = |column: usize| {
            let number =
                |row: &Vec<String>| row[column] == "-" || row[column].parse::<f64>().is_ok();
            !self.rows.is_empty() && self.rows.iter().all(number)
        };
        let layout: Vec<_> = (0..columns).map(|column| (width(column), right(column))).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, (width, right)) in cells.zip(&layout) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                match right {
                    true => line.push_str(&format!("{cell:>width$}")),
                    false => line.push_str(&format!("{cell:<width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())
        };
        line(f, &mut self.head.iter().copied())?;
        for row in &self.rows {
            line(f, &mut row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["VERSION", "WEIGHT", "UPSTREAM"]);
        table.row(["blue".to_owned(), "50".to_owned(), "shop-blue".to_owned()]);
        table.row(["green".to_owned(), "0.05".to_owned(), "a\u{1b}[2Jb".to_owned()]);
        assert_eq!(
            table.to_string(),
            "VERSION  WEIGHT  UPSTREAM\n\
             blue         50  shop-blue\n\
             green      0.05  a\u{fffd}[2Jb\n"
        );
    }
}
