//! Tables of figures: names to the left, numbers to the right.

use textwrap::core::display_width;

use crate::sink::{BOLD, Look, PLAIN};

/// Rows of cells, the first its heads.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// The columns whose cells stand to the right.
    right: &'static [usize],
}

impl Table {
    pub(super) fn new(heads: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![heads.iter().map(ToString::to_string).collect()], right }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The table's lines. The last column has the width that its cells have.
    pub(super) fn text(&self, look: Look) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let rows: Vec<Vec<_>> =
            self.rows.iter().map(|row| row.iter().map(|cell| look.shown(cell).into_owned()).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            cells.map(|cell| display_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::from("  ");
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column].saturating_sub(display_width(cell)));
                match (self.right.contains(&column), column + 1 == columns) {
                    (true, _) => line.extend([pad.as_str(), cell, "  "]),
                    (false, true) => line += cell,
                    (false, false) => line.extend([cell, pad.as_str(), "  "]),
                }
            }
            text += &look.paint(if number == 0 { BOLD } else { PLAIN }, line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_the_last_column_is_as_wide_as_it_is() {
        let mut table = Table::new(&["NAME", "BYTES", "FROM"], &[1]);
        assert!(table.is_empty());
        table.row(vec!["anon".to_owned(), "12".to_owned(), "memory.stat".to_owned()]);
        assert_eq!(table.text(Look::plain()), "  NAME  BYTES  FROM\n  anon     12  memory.stat\n");
    }
}
