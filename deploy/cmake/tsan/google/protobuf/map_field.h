// Before protobuf's own in the build "tsan". Under ThreadSanitizer that header gives a map field two more members,
// which Debian's libprotobuf, built without, does not know of.
#include <cstddef>  // The standard library sees the macro.
#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include_next <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")
