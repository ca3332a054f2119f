package normal

import "regexp"

// age matches how tables show how long ago something was.
var age = regexp.MustCompile(`^(\d+[smhdy])+$`)

// ageColumns are the names of the columns that hold one.
var ageColumns = map[string]bool{
	"Age": true, "Last Seen": true, "First Seen": true, "Duration": true, "Last Schedule": true, "Created At": true,
}

// hideAges replaces the ages in a Table's cells. The later frames of a watch name no
// columns; there, every cell that looks like an age is taken for one.
func hideAges(table object) object {
	columns, _ := table.get("columnDefinitions").(array)
	isAge := func(column int) bool {
		if column >= len(columns) {
			return len(columns) == 0
		}
		definition, _ := columns[column].(object)
		return ageColumns[definition.text("name")]
	}
	result := make(object, len(table))
	for i, m := range table {
		if rows, ok := m.value.(array); ok && m.key == "rows" {
			m.value = hideAgesInRows(rows, isAge)
		}
		result[i] = m
	}
	return result
}

func hideAgesInRows(rows array, isAge func(column int) bool) array {
	result := make(array, len(rows))
	for i, item := range rows {
		row, _ := item.(object)
		changed := make(object, len(row))
		for j, m := range row {
			if cells, ok := m.value.(array); ok && m.key == "cells" {
				m.value = hideAgesInCells(cells, isAge)
			}
			changed[j] = m
		}
		result[i] = changed
	}
	return result
}

func hideAgesInCells(cells array, isAge func(column int) bool) array {
	result := make(array, len(cells))
	for column, cell := range cells {
		if text, ok := cell.(string); ok && isAge(column) && age.MatchString(text) {
			cell = "<age>"
		}
		result[column] = cell
	}
	return result
}
