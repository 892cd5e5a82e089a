"""The functions that libsndfile calls to read a file, in the language of LLVM.

They are those of ``SF_VIRTUAL_IO`` for reading, named as there. The last argument of each is the
address of what they know of the file: offset of the next read, length, offset and length of the
window, all in bytes; addresses of the window and of a function that does what ``read`` cannot.
"""

WINDOW_CODE = """
%known = type { i64, i64, i64, i64, ptr, ptr }

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define i64 @get_filelen(ptr %file) {
  %length.at = getelementptr %known, ptr %file, i32 0, i32 1
  %length = load i64, ptr %length.at
  ret i64 %length
}

define i64 @tell(ptr %file) {
  %position = load i64, ptr %file
  ret i64 %position
}

define i64 @seek(i64 %offset, i32 %whence, ptr %file) {
  %position = load i64, ptr %file
  %length = call i64 @get_filelen(ptr %file)
  %from.position = icmp eq i32 %whence, 1
  %from.end = icmp eq i32 %whence, 2
  %zero.or.position = select i1 %from.position, i64 %position, i64 0
  %base = select i1 %from.end, i64 %length, i64 %zero.or.position
  %sum = add i64 %base, %offset
  %is.before = icmp slt i64 %sum, 0
  %place = select i1 %is.before, i64 0, i64 %sum
  store i64 %place, ptr %file
  ret i64 %place
}

define i64 @read(ptr %out, i64 %count, ptr %file) {
  %start.at = getelementptr %known, ptr %file, i32 0, i32 2
  %n_held.at = getelementptr %known, ptr %file, i32 0, i32 3
  %position = load i64, ptr %file
  %start = load i64, ptr %start.at
  %n_held = load i64, ptr %n_held.at
  ; without a sign, what lies before the window lies far behind it
  %offset = sub i64 %position, %start
  %n_left = sub i64 %n_held, %offset
  %begins.inside = icmp ule i64 %offset, %n_held
  %ends.inside = icmp ule i64 %count, %n_left
  %is.there = and i1 %begins.inside, %ends.inside
  br i1 %is.there, label %copy, label %ask

copy:
  %window.at = getelementptr %known, ptr %file, i32 0, i32 4
  %window = load ptr, ptr %window.at
  %from = getelementptr i8, ptr %window, i64 %offset
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %from, i64 %count, i1 false)
  %after = add i64 %position, %count
  store i64 %after, ptr %file
  ret i64 %count

ask:
  %read_on.at = getelementptr %known, ptr %file, i32 0, i32 5
  %read_on = load ptr, ptr %read_on.at
  %n_read = call i64 %read_on(ptr %out, i64 %count, ptr %file)
  ret i64 %n_read
}
"""
